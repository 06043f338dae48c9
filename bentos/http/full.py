"""Who can't be answered soon is told so at once: before a key is looked up, a route or a body. The answer is made once."""

import math
import time
from functools import lru_cache
from http import HTTPMethod, HTTPStatus
from itertools import count
from typing import Any

from starlette.types import Message, Scope, Send

from bentos.batching.batcher import Overloaded
from bentos.http.headers import headers_for
from bentos.http.problems import json_answer, overloaded
from bentos.http.schemas import ErrorAnswer
from bentos.metrics.meter import of_request

PATH, NAME = "/predict", "predict"
READ_BYTES = 2**16
"""A body up to here has come, or nearly, when its answer leaves; what is longer is not waited for."""
CLOSE_ONE_IN = 4
"""Connections that are closed with the answer, so that a client may meet another worker. To close each one costs both
ends more than the answer itself."""
TOO_MANY = str(int(HTTPStatus.TOO_MANY_REQUESTS))
MAX_ANSWERS = 256


class FullHouse:
    """`bentos.http.shortcut.TurnAway` for /predict. No key is asked for: that the service is busy is open at /health."""

    def __init__(self, holder: Any) -> None:
        """holder: whose `state` has a `predictor` and `rules` once the service is ready."""
        self._holder, self._number = holder, count(1)

    async def __call__(self, scope: Scope, send: Send) -> bool:
        start_s = time.perf_counter()
        if scope["path"] != PATH or scope["method"] != HTTPMethod.POST:
            return False
        rules = getattr(self._holder.state, "rules", None)
        if rules is None or rules.cors_origins:
            return False
        wait_s = self._holder.state.predictor.full_for_s()
        if wait_s is None:
            return False
        closes = next(self._number) % CLOSE_ONE_IN == 0 or not _is_short(scope)
        for message in _answer(math.ceil(wait_s), closes, scope["scheme"]):
            await send(message)
        of_request(NAME, TOO_MANY).observe(time.perf_counter() - start_s)
        return True


def _is_short(scope: Scope) -> bool:
    """Announced, on its way, and short enough to be read to its end. Who waits for `100 Continue` may never send it."""
    headers = dict(scope["headers"])
    length = headers.get(b"content-length", b"")
    return b"expect" not in headers and length.isdigit() and int(length[:20]) <= READ_BYTES


@lru_cache(MAX_ANSWERS)
def _answer(wait_s: int, closes: bool, scheme: str) -> tuple[Message, ...]:
    refused = overloaded(Overloaded(wait_s))
    headers = {name: value for name, value in refused.headers.items() if closes or name != "Connection"}
    response = json_answer(ErrorAnswer(error=refused.problem), refused.status, headers)
    all_headers = [*response.raw_headers, *headers_for(PATH, scheme)]
    start = {"type": "http.response.start", "status": refused.status, "headers": all_headers}
    return start, {"type": "http.response.body", "body": response.body}
