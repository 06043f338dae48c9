# VisionOps. `make help` lists what there is.
SHELL := /bin/bash
SYSTEM ?= quickstart
PORT ?= 3000
# As configs/load.py reads it: the environment, then .env.
STATE ?= $(or $(VISIONOPS_STATE),$(shell sed -n 's/^VISIONOPS_STATE=//p' .env 2>/dev/null),.visionops)
SET ?=
PYTHON ?= python3.11
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.lock-sha256
# Of a worker that dies, xdist would start another and, by files, wait for ever.
AT_ONCE := -n 2 --dist loadfile --max-worker-restart 0
TOOLS := $(abspath $(STATE))/tools
TOOLS_LOCKED := $(shell sha256sum requirements.tools.lock 2>/dev/null | cut -d' ' -f1)
SOURCES := vision configs expectations tasks flows bentos benchmarks
LOCKS := requirements.lock requirements.serve.lock requirements.gpu.lock requirements.train.lock
SBOM = $(or $(TO),$(abspath $(STATE))/sbom)
LOCKED := $(shell sha256sum requirements.lock 2>/dev/null | cut -d' ' -f1)

# Compiled modules halve the start of every process; some shells switch them off.
unexport PYTHONDONTWRITEBYTECODE
export DO_NOT_TRACK := 1
export VISIONOPS_STATE := $(abspath $(STATE))
export BENTOML_HOME := $(abspath $(STATE))/bentoml
export PREFECT_HOME := $(abspath $(STATE))/prefect
export PATH := $(abspath $(VENV))/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-unit faults lint tools types workflows audit sbom smoke evidence promote rollout bench-comment format train explore compare cross-validate evaluate monitor release rollback loop serve image encrypt decrypt up down status dashboard keys trace queue blast history replay deploy lock tune-serving bench-serving bench-serving-boxes soak bench-training bench-training-boxes bench-pretraining bench-size bench-scale bench-scoring bench-drift clean score export convert bench-gradcam

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: ## .venv from requirements.lock (again only when the lock has changed)
	@mkdir -p $(STATE)
	@if [ "$$(cat $(STAMP) 2>/dev/null)" != "$(LOCKED)" ]; then \
	  echo "setting up $(VENV) from requirements.lock (6.5 GB with CUDA's torch)"; \
	  [ -x $(PY) ] || $(PYTHON) -m venv $(VENV) || exit 1; \
	  $(PY) -m pip install -q uv && $(VENV)/bin/uv pip sync -q --compile-bytecode --python $(PY) requirements.lock \
	  && $(VENV)/bin/uv pip install -q --python $(PY) --no-deps --editable . && echo "$(LOCKED)" > $(STAMP); \
	fi

demo: setup ## the whole spine on drawn leaves: train, gate, register, build, serve, ask
	@$(PY) -m flows.run_demo

train: setup ## train SYSTEM=… (SET="training.batch_size=16 …" overrides)
	@$(PY) -m flows.train_model --system $(SYSTEM) $(foreach pair,$(SET),--set '$(pair)')

explore: setup ## a page on the data of SYSTEM=…: findings, classes, near-duplicates, a map; trains nothing (SET= as in train)
	@$(PY) -m flows.explore_data --system $(SYSTEM) $(foreach pair,$(SET),--set '$(pair)')

compare: setup ## train the architectures of SYSTEM=…'s `compare` section, and which one to take (SET= as in train)
	@$(PY) -m flows.compare_models --system $(SYSTEM) $(foreach pair,$(SET),--set '$(pair)')

cross-validate: setup ## how good SYSTEM=…'s recipe is: FOLDS=5 trainings, every image tested once (SET= as in train)
	@$(PY) -m flows.cross_validate --system $(SYSTEM) $(if $(FOLDS),--folds $(FOLDS)) $(foreach pair,$(SET),--set '$(pair)')

evaluate: setup ## a package (PACKAGE=folder, default the champion) of SYSTEM=… on its data as it is now
	@$(PY) -m flows.evaluate_model --system $(SYSTEM) $(if $(PACKAGE),--package $(PACKAGE))

score: setup ## images of FROM=folder, manifest (.csv, .parquet: column path) or s3://… by SYSTEM=…'s champion into TO=folder; a killed run goes on
	@$(PY) -m flows.score_batch --system $(SYSTEM) --from '$(FROM)' --to '$(TO)' $(if $(PACKAGE),--package $(PACKAGE)) $(foreach pair,$(SET),--set '$(pair)')

export: setup ## the champion of SYSTEM=… as files for elsewhere (PRECISIONS="onnx int8 tflite", TO=folder)
	@$(PY) -m flows.export_model --system $(SYSTEM) $(if $(PRECISIONS),--precisions $(PRECISIONS)) $(if $(TO),--to '$(TO)') $(if $(PACKAGE),--package $(PACKAGE))

monitor: setup ## judge what SYSTEM=…'s service answered since the last run: drift, its cause, what to do (SET= as in train)
	@$(PY) -m flows.monitor_drift --system $(SYSTEM) $(foreach pair,$(SET),--set '$(pair)')

release: setup ## one step of SYSTEM=…'s release: shadow, canary, promote or take back, on the evidence (SET= as in train)
	@$(PY) -m flows.release_model --system $(SYSTEM) $(foreach pair,$(SET),--set '$(pair)')

rollback: setup ## take SYSTEM=…'s release back, now (TO=version, WHY='…'); needs neither Prefect nor the registry
	@$(PY) -m flows.rollback_release --system $(SYSTEM) $(if $(TO),--to $(TO)) $(if $(WHY),--reason '$(WHY)')

loop: setup ## the whole loop on drawn images with real servers: drift, alarm, retrain, canary, rollback; a page at the end
	@$(PY) -m flows.run_loop --system $(SYSTEM)

serve: setup ## serve the champion of SYSTEM=… on PORT=…
	@VISIONOPS_SYSTEM=$(SYSTEM) $(VENV)/bin/bentoml serve . --host 127.0.0.1 --port $(PORT)

image: setup ## SYSTEM=…'s champion as a container image (TARGET=gpu; BUILDER="podman …", BUILD_ARGS=, BASE=image, PIP_CONFIG=file; REGISTRY=… pushes it)
	@$(PY) -m flows.build_image --system $(SYSTEM) --target $(or $(TARGET),cpu) --builder '$(BUILDER)' --build-args='$(BUILD_ARGS)' \
	  --base '$(BASE)' $(if $(PIP_CONFIG),--pip-config '$(PIP_CONFIG)') $(if $(REGISTRY),--registry '$(REGISTRY)')

smoke: setup ## ask the service at URL=… the golden images of SYSTEM=…'s champion (PACKAGE=folder, WAIT=seconds; key: VISIONOPS_SERVICE_KEY)
	@$(PY) -m flows.smoke_service '$(URL)' --system $(SYSTEM) $(if $(PACKAGE),--package '$(PACKAGE)') $(if $(WAIT),--wait $(WAIT))

evidence: setup ## what speaks for SYSTEM=…'s next step of release: the gate, what was measured in service; exit 3 where it is not enough
	@$(PY) -m flows.show_evidence --system $(SYSTEM)

promote: setup ## that step, by hand: as `make release`, also where release.automatic is off (WHY='…')
	@$(PY) -m flows.release_model --system $(SYSTEM) --set release.automatic=true $(if $(WHY),--reason '$(WHY)')

rollout: setup ## IMAGE=registry/name@sha256:… into OVERLAY=staging of the cluster that kubectl knows (DRY=1: print; UNDO=1: back)
	@$(PY) -m flows.roll_out $(or $(OVERLAY),staging) $(if $(IMAGE),--image '$(IMAGE)') $(if $(DRY),--dry-run) $(if $(UNDO),--undo)

encrypt: setup ## SYSTEM=…'s champion as an encrypted file in TO=folder, a state folder for a device (KEY=file, made if need be)
	@$(PY) -m flows.encrypt_package encrypt --system $(SYSTEM) --to '$(TO)' --key '$(KEY)'

decrypt: setup ## such a file (FROM=) as a package folder again (TO=, KEY=file)
	@$(PY) -m flows.encrypt_package decrypt --from '$(FROM)' --to '$(TO)' --key '$(KEY)'

up: setup ## Prefect and a worker, MLflow, SYSTEM=…'s service, Prometheus, on this machine (PORTS="service=3001 mlflow=0")
	@$(PY) -m flows.run_stack up --system $(SYSTEM) $(if $(PORTS),--ports $(PORTS))

down: setup ## end what `make up` started
	@$(PY) -m flows.run_stack down

status: setup ## what of `make up` runs, where
	@$(PY) -m flows.run_stack status

dashboard: setup ## write Grafana's dashboard from deploy/grafana/draw_dashboard.py
	@$(PY) deploy/grafana/draw_dashboard.py

convert: setup ## boxes of FROM=folder (COCO or YOLO), or of SYSTEM=…'s data set with its splits, as FORMAT=coco|yolo into TO=folder
	@$(PY) -m flows.convert_boxes $(if $(FROM),--from '$(FROM)',--system $(SYSTEM)) --to '$(TO)' --format $(or $(FORMAT),yolo)

keys: setup ## API keys of SYSTEM=…'s service: DO=list, DO='create --note "field app"', DO='revoke <id>'
	@$(PY) -m bentos.access --system $(SYSTEM) $(or $(DO),list)

trace: setup ## which data, code and gate led to the prediction ID=… of SYSTEM=… (CHECK=1: make every hash again)
	@$(PY) -m flows.trace_prediction $(ID) --system $(SYSTEM) $(if $(CHECK),--check)

replay: setup ## run the prediction ID=… of SYSTEM=… again from its IMAGE=file and compare
	@$(PY) -m flows.replay_prediction $(ID) '$(IMAGE)' --system $(SYSTEM)

history: setup ## which model of SYSTEM=… was champion when and why (AT=2026-11-21T08:00 for one time)
	@$(PY) -m flows.show_history --system $(SYSTEM) $(if $(AT),--at '$(AT)')

blast: setup ## models trained on IMAGE=file, sha256 or path (or LABEL=class) of SYSTEM=…, and what they answered
	@$(PY) -m flows.trace_image --system $(SYSTEM) $(if $(LABEL),--label '$(LABEL)',--image '$(IMAGE)')

queue: setup ## ask people for labels: a new queue for SYSTEM=…, filled ones taken in (TAKE=no [SHEET=labels.csv or a COCO .json]: only that)
	@$(PY) -m flows.queue_labels --system $(SYSTEM) $(if $(TAKE),--take $(TAKE)) $(if $(SHEET),--sheet '$(SHEET)')

deploy: setup ## write the deployments of prefect.yaml to the Prefect server that PREFECT_API_URL names
	@$(VENV)/bin/prefect work-pool inspect local >/dev/null 2>&1 || $(VENV)/bin/prefect work-pool create --type process local \
	  || $(VENV)/bin/prefect work-pool inspect local >/dev/null # another deploy's, at the same time
	@$(VENV)/bin/prefect --no-prompt deploy --all

test: test-unit ## all tests: the quick ones, then those that start Ray and servers, two files at a time
	@$(PY) -m pytest -q -m "slow and not system" $(AT_ONCE) --no-loadscope-reorder --durations=15

test-unit: setup ## the quick ones, two files at a time
	@$(PY) -m pytest -q -m "not system and not slow" $(AT_ONCE)

faults: setup ## run every fault test and write docs/faults.md from what they see
	@$(PY) -m pytest -q tests/faults --write-faults

tools: setup ## what looks at the project from outside, in an environment of its own from requirements.tools.lock
	@if [ "$$(cat $(TOOLS)/.lock-sha256 2>/dev/null)" != "$(TOOLS_LOCKED)" ]; then \
	  $(VENV)/bin/uv venv -q --clear --python $(PY) $(TOOLS) \
	  && $(VENV)/bin/uv pip sync -q --require-hashes --python $(TOOLS)/bin/python requirements.tools.lock \
	  && echo "$(TOOLS_LOCKED)" > $(TOOLS)/.lock-sha256; \
	fi

types: tools ## ty: names that are there, calls that fit their functions
	@$(TOOLS)/bin/ty check --output-format concise --python $(VENV) $(SOURCES)

workflows: tools ## .github against GitHub's schemas, and actionlint where it is installed
	@$(TOOLS)/bin/check-jsonschema -q --builtin-schema vendor.github-workflows .github/workflows/*.yaml
	@$(TOOLS)/bin/check-jsonschema -q --builtin-schema vendor.github-actions .github/actions/*/action.yaml
	@$(TOOLS)/bin/check-jsonschema -q --builtin-schema vendor.dependabot .github/dependabot.yml
	@if command -v actionlint > /dev/null; then actionlint; else echo "actionlint is not installed: the schemas alone were asked"; fi

audit: tools ## known vulnerabilities of what the locks name (asks the advisories of PyPI; exit 3 where there are some)
	@deploy/security/audit.sh $(TOOLS)/bin/pip-audit $(LOCKS)

sbom: tools ## what each lock brings, as CycloneDX with hashes, into TO=folder (default: sbom in the state folder)
	@mkdir -p '$(SBOM)'; for lock in $(LOCKS); do \
	  $(TOOLS)/bin/cyclonedx-py requirements --output-reproducible --of JSON -o '$(SBOM)'/$$(basename $$lock .lock).cdx.json $$lock || exit 1; \
	done; ls -1 '$(SBOM)'

lint: setup ## ruff
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .

format: setup ## ruff, mending
	@$(VENV)/bin/ruff check --fix . && $(VENV)/bin/ruff format .

bench-training: setup ## training speed as ratios: epochs, a whole two-phase run, 1 and 2 workers (wants the machine to itself); last line is JSON
	@$(PY) -m benchmarks.training

bench-training-boxes: setup ## training a detector beside torchvision's own loop, as ratios (wants the machine to itself); last line is JSON
	@$(PY) -m benchmarks.training_boxes

bench-comment: setup ## the last line of FROM=file, a benchmark's output, as a table for a comment
	@$(PY) -m benchmarks.comment '$(FROM)'

bench-pretraining: setup ## what SimCLR gains at 10, 25 and 100 % of the labels of tomato_leaf (20 minutes); writes docs/pretraining.md; last line is JSON
	@$(PY) -m benchmarks.pretraining --work $(VISIONOPS_STATE)/pretraining

bench-gradcam: setup ## does the heat of /explain fall on the lesions? quickstart's champion, untrained networks, chance; last line is JSON
	@$(PY) -m benchmarks.gradcam

bench-scoring: setup ## share of the raw limit (decode, preprocess, engine) that batch scoring reaches, over a minute of work in turns (PACKAGE=folder); last line is JSON
	@OMP_NUM_THREADS=1 $(PY) -m benchmarks.scoring $(if $(PACKAGE),--package $(PACKAGE))

bench-size: setup ## time and memory of each stage at up to 60,000 images; writes docs/size.md; last line is JSON
	@$(PY) -m benchmarks.size --work $(VISIONOPS_STATE)/size

bench-scale: setup ## what docs/scale.md measures itself (3 minutes, quickstart's champion), and the page made anew; last line is JSON
	@$(PY) -m benchmarks.scale_measure --work $(VISIONOPS_STATE)/scale && $(PY) -m benchmarks.scale

bench-drift: setup ## false alarms and power of the drift test beside Evidently's; writes docs/drift.md; last line is JSON
	@OMP_NUM_THREADS=1 $(PY) -m benchmarks.drift --work $(VISIONOPS_STATE)/drift

tune-serving: setup ## measure this device for SYSTEM=…'s champion (3 minutes, INT8 too where its gate passed) and write the profile that its service takes up
	@$(PY) -m benchmarks.tune_serving --system $(SYSTEM)

bench-serving: setup ## serving speed as ratios (15 minutes, wants the machine to itself); writes docs/serving-speed.md; last line is JSON
	@$(PY) -m benchmarks.serving --fresh

bench-serving-boxes: setup ## serving a detector beside a plain torchvision handler, as ratios (3 minutes, wants the machine to itself); last line is JSON
	@$(PY) -m benchmarks.serving_boxes

soak: setup ## mixed traffic for MINUTES (5): does the service grow? last line is JSON
	@$(PY) -m benchmarks.soak --minutes $(or $(MINUTES),5)

lock: ## resolve again: requirements.lock and those of the images
	@[ -x $(PY) ] || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install -q uv
	@$(VENV)/bin/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --python-version 3.11 --extra dev pyproject.toml -o requirements.lock
	@$(VENV)/bin/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --python-version 3.11 --extra serve -c requirements.lock pyproject.toml -o requirements.serve.lock
	@$(VENV)/bin/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --python-version 3.11 --extra serve --extra gpu -c requirements.lock pyproject.toml -o requirements.gpu.lock
	@$(VENV)/bin/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --python-version 3.11 --extra train --extra serve --extra cluster -c requirements.lock pyproject.toml -o requirements.train.lock
	@$(VENV)/bin/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --python-version 3.11 --group tools -o requirements.tools.lock

clean: ## remove the state folder (data versions, models, registry): asks first
	@read -p "remove $(STATE) with all models and data versions? [y/N] " yes && [ "$$yes" = y ] && rm -rf $(STATE)
