"""Requests that can't be answered: one exception, one JSON form. A bad request never gets a 500."""

from http import HTTPStatus

from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from bentos.schemas import ErrorAnswer, Problem
from vision.preprocess import FORMATS, ImageError

STATUS_OF_IMAGE = {
    "empty": HTTPStatus.BAD_REQUEST,
    "truncated": HTTPStatus.BAD_REQUEST,
    "too_small": HTTPStatus.BAD_REQUEST,
    "unknown_format": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "unsupported": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "too_many_pixels": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
}
IMAGE_ALLOWED = f"one whole image, {', '.join(FORMATS)}, within the service's size limits"


class Refused(Exception):
    """A request that the client can mend."""

    def __init__(self, status: int, got: str, allowed: str, do: str) -> None:
        self.status = int(status)
        self.problem = Problem(got=got, allowed=allowed, do=do)
        super().__init__(got)


def refused_image(error: ImageError) -> Refused:
    status = STATUS_OF_IMAGE.get(error.reason, HTTPStatus.BAD_REQUEST)
    return Refused(status, str(error), IMAGE_ALLOWED, "send the image file itself, unchanged")


def answer_refused(_: Request, error: Refused) -> Response:
    return json_answer(ErrorAnswer(error=error.problem), error.status)


def answer_http_error(request: Request, error: HTTPException) -> Response:
    """Starlette's own refusals (wrong method, malformed form) in the same form."""
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = f"the methods {(error.headers or {}).get('Allow', 'that the endpoint has')}"
        problem = Problem(got=f"{request.method} {request.url.path}", allowed=allowed, do="use another method")
    else:
        problem = Problem(got=str(error.detail), allowed="a well-formed request", do="correct the request")
    return json_answer(ErrorAnswer(error=problem), error.status_code, dict(error.headers or {}))


def answer_fault(_: Request, __: Exception) -> Response:
    """Our fault: the log has the trace, the client gets none of it."""
    problem = Problem(got="an internal error", allowed="an answer", do="try again; if it stays, tell the operator")
    return json_answer(ErrorAnswer(error=problem), HTTPStatus.INTERNAL_SERVER_ERROR)


def answer_gone(_: Request, __: ClientDisconnect) -> Response:
    """The client left before its request was whole; nobody reads this."""
    return Response(status_code=HTTPStatus.BAD_REQUEST)


def json_answer(model: BaseModel, status: int = HTTPStatus.OK, headers: dict[str, str] | None = None) -> Response:
    return Response(model.model_dump_json(), status, headers, media_type="application/json")
