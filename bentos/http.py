"""The HTTP endpoints, as a Starlette app that BentoML's service mounts at `/`.

Mounted rather than written as `@bentoml.api`: a raw body and a multipart field on one path, our own error form, and
less than half the cost a request. BentoML's own probes and `/metrics` are matched before the mount, which passes on
what no route here takes (`/docs.json`, the index page).
"""

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from bentos.predictor import Predictor
from bentos.problems import (
    Refused,
    answer_fault,
    answer_gone,
    answer_http_error,
    answer_refused,
    json_answer,
    refused_image,
)
from bentos.upload import read_upload
from vision.preprocess import ImageError

BYTES_PER_MIB = 2**20


def create_app() -> Starlette:
    """The app without a model; `attach` gives it one before the first request."""
    return Starlette(
        routes=[
            Route("/predict", predict, methods=["POST"]),
            Route("/health", health, methods=["GET"]),
            Route("/model/version", model_version, methods=["GET"]),
        ],
        exception_handlers={
            Refused: answer_refused,
            HTTPException: answer_http_error,
            ClientDisconnect: answer_gone,
            Exception: answer_fault,
        },
    )


def attach(app: Starlette, predictor: Predictor, threads: int) -> None:
    """`threads`: requests that are decoded and answered at one time; others wait their turn."""
    app.state.predictor = predictor
    app.state.limiter = CapacityLimiter(threads)
    app.state.max_body_bytes = int(predictor.served.serving.max_body_mib * BYTES_PER_MIB)


async def predict(request: Request) -> Response:
    """Decoding and inference run in threads, so that the event loop keeps answering."""
    state = request.app.state
    data = await read_upload(request, state.max_body_bytes)
    try:
        prediction = await to_thread.run_sync(state.predictor.predict, data, limiter=state.limiter)
    except ImageError as error:
        raise refused_image(error) from None
    return json_answer(prediction)


async def health(request: Request) -> Response:
    return json_answer(request.app.state.predictor.health())


async def model_version(request: Request) -> Response:
    return json_answer(request.app.state.predictor.model_version())
