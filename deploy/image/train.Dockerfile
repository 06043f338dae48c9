# Everything but the service: flows, Prefect, MLflow, Ray, with the drivers of PostgreSQL and S3. Context: the checkout.
#   docker build -f deploy/image/train.Dockerfile -t visionops_train:1 .
ARG BASE=python:3.11-slim

FROM ${BASE} AS packages
RUN python3.11 -m venv --without-pip /app/venv && python3.11 -m venv /app/tool
COPY requirements.train.lock /app/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    /app/tool/bin/pip --python /app/venv/bin/python install -q --no-cache-dir --no-compile --require-hashes -r /app/requirements.train.lock \
    && /app/venv/bin/python -m compileall -q -j 0 /app/venv/lib

FROM ${BASE}
# The data versions are a git repository; KubeRay's probes call wget.
RUN apt-get update && apt-get install -y --no-install-recommends git wget && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 1034 visionops && useradd --uid 1034 --gid 1034 --create-home visionops \
    && install -d -o visionops -g visionops /var/lib/visionops
ENV PATH=/app/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1 \
    VISIONOPS_STATE=/var/lib/visionops \
    PREFECT_HOME=/var/lib/visionops/prefect
COPY --from=packages /app/venv /app/venv
WORKDIR /app/visionops
COPY pyproject.toml prefect.yaml bentofile.yaml requirements.serve.lock ./
COPY vision vision
COPY configs configs
COPY expectations expectations
COPY tasks tasks
COPY flows flows
COPY bentos bentos
COPY web web
USER 1034
