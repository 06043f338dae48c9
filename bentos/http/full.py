"""Who can't be answered soon is told so at once: before a key is looked up, a route or a body. The answer is made once."""

import math
import time
from collections.abc import Callable
from functools import lru_cache
from http import HTTPMethod, HTTPStatus
from typing import Any

from starlette.types import Scope

from bentos.batching.batcher import Overloaded
from bentos.connections.server import Refusal
from bentos.http.headers import headers_for
from bentos.http.problems import json_answer, overloaded
from bentos.http.schemas import ErrorAnswer
from bentos.metrics.meter import of_request

PATH, NAME = "/predict", "predict"
READ_BYTES = 2**16
"""A body up to here has come, or nearly, when its answer leaves; what is longer is not waited for."""
TOO_MANY = str(int(HTTPStatus.TOO_MANY_REQUESTS))
MAX_ANSWERS = 256


class FullHouse:
    """`bentos.connections.server.TurnAway` for /predict. No key is asked for: that the service is busy is open at /health."""

    def __init__(self, holder: Any) -> None:
        """holder: whose `state` has a `predictor` and `rules` once the service is ready."""
        self._holder = holder

    def __call__(self, scope: Scope, crowded: Callable[[], bool]) -> Refusal | None:
        """crowded: whether another worker has fewer connections, so that the client does better to connect again."""
        start_s = time.perf_counter()
        if scope["path"] != PATH or scope["method"] != HTTPMethod.POST:
            return None
        rules = getattr(self._holder.state, "rules", None)
        if rules is None or rules.cors_origins:
            return None
        wait_s = self._holder.state.predictor.full_for_s()
        if wait_s is None:
            return None
        closes = crowded() or not _is_short(scope)
        refusal = _refusal(math.ceil(wait_s), closes, scope["scheme"])
        of_request(NAME, TOO_MANY).observe(time.perf_counter() - start_s)
        return refusal


def _is_short(scope: Scope) -> bool:
    """Announced, on its way, and short enough to be read to its end. Who waits for `100 Continue` may never send it."""
    length = b""
    for name, value in scope["headers"]:
        if name == b"expect":
            return False
        if name == b"content-length":
            length = value
    return length.isdigit() and int(length[:20]) <= READ_BYTES


@lru_cache(MAX_ANSWERS)
def _refusal(wait_s: int, closes: bool, scheme: str) -> Refusal:
    refused = overloaded(Overloaded(wait_s))
    headers = {name: value for name, value in refused.headers.items() if closes or name != "Connection"}
    response = json_answer(ErrorAnswer(error=refused.problem), refused.status, headers)
    lines = [name + b": " + value for name, value in [*response.raw_headers, *headers_for(PATH, scheme)]]
    return Refusal(refused.status, b"\r\n".join([*lines, b"", bytes(response.body)]), closes)
