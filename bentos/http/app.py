"""The HTTP endpoints, as a Starlette app that BentoML's service mounts at `/`.

Mounted rather than written as `@bentoml.api`: a raw body and a multipart field on one path, our own error form, and
less than half the cost a request. BentoML's own probes are matched before the mount; what neither has is refused by
`bentos.access.scopes`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from bentos.batching.batcher import Closed, Overloaded
from bentos.books import Books, scrape
from bentos.hooks import Asked, Client
from bentos.http.feedback import feedback
from bentos.http.openapi_page import docs, docs_file, openapi
from bentos.http.page import icon, page, page_file
from bentos.http.passport import lineage
from bentos.http.problems import (
    Refused,
    answer_error,
    answer_fault,
    answer_gone,
    answer_http_error,
    error_entry,
    json_answer,
    no_answer_in_time,
)
from bentos.http.upload import Memory, read_images
from bentos.predictor import Predictor
from vision.preprocess import ImageError

BYTES_PER_MIB = 2**20
MAX_TOP_K = 100
MAX_DIGITS = len(str(MAX_TOP_K))
"""Python refuses to read a number of thousands of digits."""
TRUE, FALSE = ("true", "1"), ("false", "0", "")
KEEP, EXPLAIN = "keep", "explain"


def create_app() -> Starlette:
    """The app without a model; `attach` gives it one before the first request."""
    return Starlette(
        routes=[
            # In the order of how often they are asked for: each request tries them one by one.
            Route("/predict", predict, methods=["POST"]),
            Route("/", page, methods=["GET"]),
            Route("/web/{name}", page_file, methods=["GET"]),
            Route("/favicon.ico", icon, methods=["GET"]),
            Route("/explain", explain, methods=["POST"]),
            Route("/feedback", feedback, methods=["POST"]),
            Route("/predictions/{id}/lineage", lineage, methods=["GET"]),
            Route("/health", health, methods=["GET"]),
            Route("/metrics", scrape, methods=["GET"]),
            Route("/release", release, methods=["GET"]),
            Route("/model/version", model_version, methods=["GET"]),
            Route("/openapi.json", openapi, methods=["GET"]),
            Route("/docs", docs, methods=["GET"]),
            Route("/docs/{name}", docs_file, methods=["GET"]),
        ],
        exception_handlers={
            **dict.fromkeys((Refused, ImageError, Overloaded, Closed), answer_error),
            HTTPException: answer_http_error,
            ClientDisconnect: answer_gone,
            Exception: answer_fault,
        },
    )


def attach(app: Starlette, predictor: Predictor, books: Books) -> None:
    app.state.predictor, app.state.books = predictor, books
    app.state.memory = Memory(int(predictor.serving.max_buffered_mib * BYTES_PER_MIB))


async def predict(request: Request) -> Response:
    """One image: its prediction. Several: `{"results": [...]}`, where a bad image is an error among the others."""
    predictor: Predictor = request.app.state.predictor
    asked = read_asked(request)
    if asked.explain:
        _check_explains(predictor)
    # What can't be answered soon is refused before its body is read.
    predictor.check_room(1, asked.client)

    async def answer(images: list[bytes]) -> Response:
        if len(images) == 1:
            return json_answer(await predictor.predict(images[0], asked))
        return json_answer({"results": await predict_all(predictor, images, asked)})

    # An explanation costs as much as at /explain, which takes one image.
    return await in_time(request, 1 if asked.explain else predictor.serving.max_images, answer)


async def predict_all(predictor: Predictor, images: list[bytes], asked: Asked) -> list[Mapping[str, Any]]:
    """Raises `Overloaded` when there is no room for all of them."""
    predictor.check_room(len(images), asked.client)
    found = await asyncio.gather(*(predictor.predict(data, asked) for data in images), return_exceptions=True)
    return [error_entry(item) if isinstance(item, Exception) else item for item in found]


async def explain(request: Request) -> Response:
    """A PNG of the image with where its answer comes from: `Answering.explained` says what is drawn."""
    predictor: Predictor = request.app.state.predictor
    _check_explains(predictor)

    async def answer(images: list[bytes]) -> Response:
        return Response(await predictor.explain(images[0], client_of(request)), media_type="image/png")

    return await in_time(request, 1, answer)


async def health(request: Request) -> Response:
    return json_answer(request.app.state.books.health())


async def release(request: Request) -> Response:
    return json_answer(request.app.state.books.release())


async def model_version(request: Request) -> Response:
    return json_answer(request.app.state.books.version())


async def in_time(request: Request, max_images: int, answer: Callable[[list[bytes]], Awaitable[Response]]) -> Response:
    """Reads the images, for which `bentos.limits.body` sets the time, and answers them within the time that the config
    gives. Raises `Refused`: 503 for an answer that takes too long."""
    state = request.app.state
    predictor: Predictor = state.predictor
    serving, limit_s = predictor.serving, predictor.serving.request_timeout_s
    with state.memory.share() as take:
        try:
            images = await read_images(request, int(serving.max_body_mib * BYTES_PER_MIB), max_images, take)
        except Overloaded:
            predictor.observer.refused("overloaded")
            raise
        try:
            async with asyncio.timeout(limit_s):
                return await answer(images)
        except TimeoutError:
            predictor.observer.refused("timeout")
            raise no_answer_in_time(limit_s) from None


def _check_explains(predictor: Predictor) -> None:
    if not predictor.lane.explains:
        raise Refused(HTTPStatus.NOT_FOUND, "a model without explanations", "a model of a kind that has them", "-")


def client_of(request: Request) -> Client | None:
    """As the guard knows it."""
    return request.scope.get("state", {}).get("client")


def read_asked(request: Request) -> Asked:
    """`?top_k=`, `?keep=`, `?explain=`, and who asks. Raises `Refused`."""
    client = client_of(request)
    if not request.scope["query_string"]:
        return Asked(client=client)
    query = request.query_params
    keep, explained = _flag(query, KEEP), _flag(query, EXPLAIN)
    if keep and (client is None or KEEP not in client.scopes):
        raise Refused(HTTPStatus.FORBIDDEN, "keep=true", "a key with the scope `keep`", "ask for such a key")
    return Asked(_top_k(query.get("top_k")), client, keep, explained)


def _top_k(text: str | None) -> int | None:
    if text is None:
        return None
    if text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS and 1 <= int(text) <= MAX_TOP_K:
        return int(text)
    raise _wrong_query(f"top_k={text[:20]}", f"a whole number from 1 to {MAX_TOP_K}")


def _flag(query: Mapping[str, str], name: str) -> bool:
    text = query.get(name, "")
    if text.lower() in (*TRUE, *FALSE):
        return text.lower() in TRUE
    raise _wrong_query(f"{name}={text[:20]}", "true or false")


def _wrong_query(got: str, allowed: str) -> Refused:
    return Refused(HTTPStatus.UNPROCESSABLE_ENTITY, got, allowed, "correct the address")
