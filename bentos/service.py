"""The BentoML service: `bentoml serve` in the project's root, or a built bento. Loads no torch, mlflow or ray."""

import os

import bentoml

from bentos.engine import ready_engine
from bentos.http import attach, create_app
from bentos.predictor import Predictor
from bentos.source import find_served
from vision.errors import UserError

REQUEST_TIMEOUT_S = 60

app = create_app()


# Loopback unless `--host` says otherwise: BentoML's own default is every interface, and there are no keys yet.
@bentoml.asgi_app(app, path="/")
@bentoml.service(workers=1, traffic={"timeout": REQUEST_TIMEOUT_S}, http={"host": "127.0.0.1"})
class VisionService:
    """Answers about images with one model package."""

    @bentoml.on_deployment
    def check() -> None:
        """Runs once, before any worker: without a package that proves itself the server says why and does not start."""
        try:
            served = find_served()
            ready_engine(served.package, served.serving.threads)
        except UserError as error:
            raise bentoml.exceptions.BentoMLConfigException(f"nothing to serve\n{error}") from None

    def __init__(self) -> None:
        served = find_served()
        engine = ready_engine(served.package, served.serving.threads)
        attach(app, Predictor(served, engine), threads=os.cpu_count() or 1)
