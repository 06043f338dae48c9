"""An answer that is there as a whole leaves in one piece.

uvicorn writes the head when it comes and the body when it comes: two system calls and two packets for each answer, and a
client that wakes up twice; and it looks at each header by itself.
"""

import logging

from starlette.types import Message
from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    RequestResponseCycle,
)

START = "http.response.start"
UVICORNS = frozenset((b"connection", b"transfer-encoding"))
"""Headers that change what uvicorn does."""


class WholeAnswer:
    """`send` of one request. Holds the head back until the body's first part; what is not an answer in these two messages, of
    the length that its head says, uvicorn sends."""

    __slots__ = ("_cycle", "_head")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._head: Message | None = None

    async def send(self, message: Message) -> None:
        cycle = self._cycle
        if message["type"] == START and not cycle.response_started:
            self._head = message
            return
        head, self._head = self._head, None
        if head is not None:
            if self._sent(head, message):
                return
            await RequestResponseCycle.send(cycle, head)
        await RequestResponseCycle.send(cycle, message)

    def _sent(self, head: Message, message: Message) -> bool:
        cycle, headers, body = self._cycle, head["headers"], message.get("body", b"")
        logged = cycle.access_log and cycle.access_logger.isEnabledFor(logging.INFO)
        plain = cycle.keep_alive and not (logged or cycle.disconnected or cycle.flow.write_paused)
        if not plain or cycle.scope["method"] == "HEAD" or message["type"] == START or message.get("more_body"):
            return False
        known = dict(headers)
        if known.get(b"content-length") != b"%d" % len(body) or not UVICORNS.isdisjoint(known):
            return False
        names, values = zip(*headers, strict=True)
        if HEADER_RE.search(b"".join(names)) or HEADER_VALUE_RE.search(b"".join(values)):
            return False
        lines = [name + b": " + value + b"\r\n" for name, value in (*cycle.default_headers, *headers)]
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.transport.write(b"".join((STATUS_LINE[head["status"]], *lines, b"\r\n", body)))
        cycle.message_event.set()
        cycle.on_response()
        return True
