"""A request's body: not more than so many bytes, and not longer than so many seconds. Nothing is read before it is asked for."""

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from starlette.types import Message, Receive

from bentos.http.problems import Refused

CLOSE = {"Connection": "close"}
"""What still comes of that body must not be taken for the next request, nor keep the connection busy."""


class Body:
    """`receive` of one request, bounded."""

    __slots__ = ("_ends_s", "_left", "_max_bytes", "_on_slow", "_receive", "_timeout_s", "_whole")

    def __init__(self, receive: Receive, max_bytes: int, timeout_s: float, on_slow: Callable[[], object]) -> None:
        """timeout_s: from now until the whole body has come; on_slow is called when it has not."""
        self._on_slow = on_slow
        self._receive, self._max_bytes, self._timeout_s = receive, max_bytes, timeout_s
        self._left, self._whole = max_bytes, False
        self._ends_s = asyncio.get_running_loop().time() + timeout_s

    async def __call__(self) -> Message:
        """The next part. Raises `Refused`: 413 for a byte too many, 408 when the time is up."""
        if self._whole:
            # What comes now says that the client has left: that may take as long as the answer does.
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._ends_s):
                message = await self._receive()
        except TimeoutError:
            self._on_slow()
            raise too_slow(self._timeout_s) from None
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise too_large(self._max_bytes)
        self._whole = not message.get("more_body", False)
        return message


def check_announced(scope: Mapping[str, Any], max_bytes: int) -> None:
    """Raises `Refused` (413) for a length that is too much, before a byte of it is read."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value[:20]) > max_bytes:
            raise too_large(max_bytes)


def too_large(max_bytes: int) -> Refused:
    return Refused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"a body of more than {max_bytes} bytes",
        f"at most {max_bytes} bytes",
        "send a smaller or more strongly compressed image",
        CLOSE,
    )


def too_slow(timeout_s: float) -> Refused:
    return Refused(
        HTTPStatus.REQUEST_TIMEOUT,
        f"a body that was not whole after {timeout_s:g} s",
        f"a whole body within {timeout_s:g} s",
        "send it faster, or a smaller image",
        CLOSE,
    )
