"""Requests that can't be answered: one exception, one JSON form. A bad request never gets a 500."""

import logging
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from bentos.batching.batcher import Closed, Overloaded
from bentos.http.schemas import ErrorAnswer, Problem
from vision.preprocess import FORMATS, ImageError

STATUS_OF_IMAGE = {
    "empty": HTTPStatus.BAD_REQUEST,
    "truncated": HTTPStatus.BAD_REQUEST,
    "too_small": HTTPStatus.BAD_REQUEST,
    "unknown_format": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "unsupported": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "too_many_pixels": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
}
COUNTED = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.SERVICE_UNAVAILABLE)
"""Told to the observer where they arise."""
FAULT = Problem(got="an internal error", allowed="an answer", do="try again; if it stays, tell the operator")
IMAGE_ALLOWED = f"one whole image, {', '.join(FORMATS)}, within the service's size limits"


class Refused(Exception):
    """A request that the client can mend. `headers`: of the answer (`Retry-After`, `WWW-Authenticate`)."""

    def __init__(self, status: int, got: str, allowed: str, do: str, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.headers = int(status), dict(headers or {})
        self.problem = Problem(got=got, allowed=allowed, do=do)
        super().__init__(got)


def refused_image(error: ImageError) -> Refused:
    status = STATUS_OF_IMAGE.get(error.reason, HTTPStatus.BAD_REQUEST)
    return Refused(status, str(error), IMAGE_ALLOWED, "send the image file itself, unchanged")


def retry_after(seconds: float) -> dict[str, str]:
    """Whole seconds, at least one, as HTTP has them."""
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


def overloaded(error: Overloaded) -> Refused:
    """The connection ends with it: this worker is full, and the next connection may meet one that is not."""
    return Refused(
        HTTPStatus.TOO_MANY_REQUESTS,
        "more requests than this server can answer soon",
        "requests at the rate that it answers them",
        "try again after the seconds in Retry-After",
        {**retry_after(error.retry_after_s), "Connection": "close"},
    )


def stopping() -> Refused:
    do = "try again; another server takes over"
    return Refused(HTTPStatus.SERVICE_UNAVAILABLE, "a server that stops", "a running server", do, retry_after(1))


def no_answer_in_time(limit_s: float) -> Refused:
    return Refused(
        HTTPStatus.SERVICE_UNAVAILABLE,
        f"no answer within {limit_s:g} s",
        "an image that is answered in that time",
        "try again, with a smaller image if it was a large one",
        retry_after(1),
    )


def refusal(error: Exception) -> Refused | None:
    """How an error of the predictor is told; None for a fault of ours."""
    match error:
        case Refused():
            return error
        case ImageError():
            return refused_image(error)
        case Overloaded():
            return overloaded(error)
        case Closed():
            return stopping()
    return None


async def answer_error(request: Request, error: Exception) -> Response:
    """For every error that `refusal` knows. What the predictor refused, it has counted itself."""
    refused = refusal(error)
    if isinstance(error, Refused) and refused.status not in COUNTED:
        request.app.state.predictor.observer.refused(f"http_{refused.status}")
    return json_answer(ErrorAnswer(error=refused.problem), refused.status, refused.headers)


def error_entry(error: Exception) -> dict[str, Any]:
    """An image's place among the results of several. A fault of ours goes to the log with its trace."""
    refused = refusal(error)
    if refused is None:
        logging.getLogger("bentos").error("an image could not be answered", exc_info=error)
        return ErrorAnswer(error=FAULT).model_dump()
    return ErrorAnswer(error=refused.problem).model_dump()


async def answer_http_error(request: Request, error: HTTPException) -> Response:
    """Starlette's own refusals (wrong method, malformed form) in the same form."""
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = f"the methods {(error.headers or {}).get('Allow', 'that the endpoint has')}"
        problem = Problem(got=f"{request.method} {request.url.path}", allowed=allowed, do="use another method")
    else:
        problem = Problem(got=str(error.detail), allowed="a well-formed request", do="correct the request")
    return json_answer(ErrorAnswer(error=problem), error.status_code, dict(error.headers or {}))


async def answer_fault(_: Request, __: Exception) -> Response:
    """Our fault: the log has the trace, the client gets none of it."""
    return json_answer(ErrorAnswer(error=FAULT), HTTPStatus.INTERNAL_SERVER_ERROR)


async def answer_gone(_: Request, __: ClientDisconnect) -> Response:
    """The client left before its request was whole; nobody reads this."""
    return Response(status_code=HTTPStatus.BAD_REQUEST)


def json_answer(
    content: BaseModel | Mapping[str, Any], status: int = HTTPStatus.OK, headers: dict[str, str] | None = None
) -> Response:
    return Response(to_json(content), status, headers, media_type="application/json")
