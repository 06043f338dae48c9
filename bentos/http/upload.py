"""The images of a request: multipart fields `file`, or the raw body. Size is bounded before anything is parsed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.types import Message

from bentos.batching.batcher import Overloaded
from bentos.http.problems import Refused
from bentos.limits.body import check_announced, too_large

FIELD = "file"
MAX_FIELDS = 8
"""Parts of other names; they are read and ignored."""
MULTIPART = "multipart/form-data"
RAW_TYPES = ("image/", "application/octet-stream", "binary/octet-stream")


class Memory:
    """Bytes of the bodies that one worker holds at a time, however many clients send at once."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.held = max_bytes, 0

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """For one request: call it with each number of bytes that came. It raises `Overloaded` when there is no room;
        leaving the block frees what was taken."""
        taken = 0

        def take(count: int) -> None:
            nonlocal taken
            if self.held + count > self.max_bytes:
                raise Overloaded(1.0)
            self.held += count
            taken += count

        try:
            yield take
        finally:
            self.held -= taken


def limited(request: Request, max_bytes: int, take: Callable[[int], None] = lambda count: None) -> Request:
    """The same request, whose body raises `Refused` (413) once more than `max_bytes` have come, announced or not.

    take: gets the size of each part of the body; what it raises goes to who reads.
    """
    check_announced(request.scope, max_bytes)
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await request.receive()
        size = len(message.get("body", b""))
        received += size
        if received > max_bytes:
            raise too_large(max_bytes)
        take(size)
        return message

    return Request(request.scope, counted)


async def read_images(
    request: Request, max_bytes: int, max_images: int = 1, take: Callable[[int], None] = lambda count: None
) -> list[bytes]:
    """The bytes of the images in `request`, in order, at least one. take: see `limited`. Raises `Refused` for anything
    else."""
    request = limited(request, max_bytes, take)
    content_type = request.headers.get("content-type", "").lower()
    if content_type.startswith(MULTIPART):
        return await _fields(request, max_bytes, max_images)
    if content_type and not content_type.startswith(RAW_TYPES):
        raise Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"content type {content_type[:100]}",
            f"{MULTIPART} with field `{FIELD}`, or the raw image as image/* or application/octet-stream",
            f"curl -F {FIELD}=@leaf.jpg",
        )
    return [await request.body()]


async def _fields(request: Request, max_bytes: int, max_images: int) -> list[bytes]:
    """The contents of the form fields `file`. They stay in memory, since the body is bounded: no disk is touched."""
    parser = MultiPartParser(
        request.headers, request.stream(), max_files=max_images + MAX_FIELDS, max_fields=MAX_FIELDS
    )
    parser.spool_max_size = max_bytes
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:  # KeyError: a form without a boundary
        said = error.message if isinstance(error, MultiPartException) else "a form without a boundary"
        raise Refused(HTTPStatus.BAD_REQUEST, said, "a well-formed form", f"curl -F {FIELD}=@leaf.jpg") from None
    try:
        return [await upload.read() for upload in _uploads(form, max_images)]
    finally:
        await form.close()


def _uploads(form, max_images: int) -> list[UploadFile]:
    uploads = form.getlist(FIELD)
    if not uploads or not all(isinstance(upload, UploadFile) for upload in uploads):
        raise Refused(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"fields {sorted(form)[:MAX_FIELDS]}",
            f"a part named `{FIELD}` that holds a file, for each image",
            f"curl -F {FIELD}=@leaf.jpg",
        )
    if len(uploads) > max_images:
        raise Refused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"{len(uploads)} parts named `{FIELD}`",
            f"at most {max_images}",
            "send the others in another request",
        )
    return uploads
