"""The image of a request: multipart field `file`, or the raw body. Size is bounded before anything is parsed."""

from http import HTTPStatus

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.types import Message

from bentos.problems import Refused

FIELD = "file"
MAX_FIELDS = 8
RAW_TYPES = ("image/", "application/octet-stream", "binary/octet-stream")


def limited(request: Request, max_bytes: int) -> Request:
    """The same request, whose body raises `Refused` (413) once more than `max_bytes` have come, announced or not."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise too_large(max_bytes)
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > max_bytes:
            raise too_large(max_bytes)
        return message

    return Request(request.scope, counted)


def too_large(max_bytes: int) -> Refused:
    return Refused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"a body of more than {max_bytes} bytes",
        f"at most {max_bytes} bytes",
        "send a smaller or more strongly compressed image",
    )


async def read_upload(request: Request, max_bytes: int) -> bytes:
    """The bytes of the one image in `request`. Raises `Refused` for anything else."""
    request = limited(request, max_bytes)
    content_type = request.headers.get("content-type", "").lower()
    if content_type.startswith("multipart/form-data"):
        return await _field(request)
    if content_type and not content_type.startswith(RAW_TYPES):
        raise Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"content type {content_type[:100]}",
            f"multipart/form-data with field `{FIELD}`, or the raw image as image/* or application/octet-stream",
            f"curl -F {FIELD}=@leaf.jpg",
        )
    return await request.body()


async def _field(request: Request) -> bytes:
    """The content of the form field `file`. Malformed forms raise Starlette's HTTPException 400."""
    async with request.form(max_files=MAX_FIELDS, max_fields=MAX_FIELDS) as form:
        uploads = form.getlist(FIELD)
        if len(uploads) == 1 and isinstance(uploads[0], UploadFile):
            return await uploads[0].read()
        found = f"{len(uploads)} parts named {FIELD}" if len(uploads) > 1 else f"fields {sorted(form)[:MAX_FIELDS]}"
    raise Refused(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        found,
        f"exactly one part named `{FIELD}` that holds a file",
        f"curl -F {FIELD}=@leaf.jpg",
    )
