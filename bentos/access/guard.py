"""The outermost of our layers: BentoML's own endpoints and ours alike go through it. Plain ASGI; denies by default."""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bentos.access.gate import Gate, open_gate, rate_headers
from bentos.access.scopes import OPEN, scope_of
from bentos.http.headers import headers_for, with_cors, with_headers
from bentos.http.problems import Refused, json_answer
from bentos.http.schemas import ErrorAnswer
from bentos.limits.body import Body, check_announced
from bentos.records import client_salt
from bentos.releasing.source import Served
from configs.paths import StatePaths
from vision.records import client_hash

BYTES_PER_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Rules:
    """What the guard goes by. on_refused: gets one of REASONS for what never reached an endpoint, and SLOW."""

    gate: Gate
    max_body_bytes: int
    body_timeout_s: float
    cors_origins: tuple[str, ...] = ()
    on_refused: Callable[[str], object] = lambda reason: None


SLOW = "slow"
REASONS = {
    HTTPStatus.UNAUTHORIZED: "no_key",
    HTTPStatus.FORBIDDEN: "scope",
    HTTPStatus.NOT_FOUND: "path",
    HTTPStatus.TOO_MANY_REQUESTS: "rate",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "body_size",
    HTTPStatus.SERVICE_UNAVAILABLE: "starting",
}


class Guard:
    def __init__(self, app: ASGIApp, holder: Any) -> None:
        """holder: whose `state.rules` is a `Rules` once the service is ready; until then nobody is let in."""
        self._app, self._holder = app, holder
        self._entry: tuple[tuple[str, ...], ASGIApp] = ((), self._guarded)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        rules = getattr(self._holder.state, "rules", None)
        origins = rules.cors_origins if rules else ()
        if self._entry[0] != origins:
            self._entry = (origins, with_cors(self._guarded, origins))
        await self._entry[1](scope, receive, send)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        added = headers_for(scope["path"], scope["scheme"])
        answer = _Answer(with_headers(send, added))
        rules = getattr(self._holder.state, "rules", None)
        try:
            receive = _admit(rules, scope, receive, added)
        except Refused as refused:
            if rules is not None:
                rules.on_refused(REASONS[refused.status])
            await _refuse(refused, scope, receive, answer.send)
            return
        try:
            await self._app(scope, receive, answer.send)
        except Refused as refused:
            # From the body, while an endpoint of BentoML's own was reading it.
            if not answer.begun:
                await _refuse(refused, scope, receive, answer.send)


class _Answer:
    """`send`, and whether the answer has begun."""

    __slots__ = ("_send", "begun")

    def __init__(self, send: Send) -> None:
        self._send, self.begun = send, False

    async def send(self, message: Message) -> None:
        self.begun = True
        await self._send(message)


def _admit(rules: Rules | None, scope: Scope, receive: Receive, added: list[tuple[bytes, bytes]]) -> Receive:
    """The bounded `receive` of a request that may go on; its client stands in `scope["state"]`. Raises `Refused`."""
    needed = scope_of(scope["path"])
    if needed is None:
        raise _no_path(scope["path"])
    if rules is None:
        if needed == OPEN:
            return receive
        raise _not_ready()
    if needed != OPEN:
        admitted = rules.gate.admit(scope, needed)
        scope.setdefault("state", {})["client"] = admitted.client
        added += rate_headers(admitted.spent)
    check_announced(scope, rules.max_body_bytes)
    return Body(receive, rules.max_body_bytes, rules.body_timeout_s, lambda: rules.on_refused(SLOW))


async def _refuse(refused: Refused, scope: Scope, receive: Receive, send: Send) -> None:
    await json_answer(ErrorAnswer(error=refused.problem), refused.status, refused.headers)(scope, receive, send)


def _no_path(path: str) -> Refused:
    return Refused(
        HTTPStatus.NOT_FOUND, f"no endpoint {path[:100]!r}", "the paths that /docs lists", "correct the path"
    )


def _not_ready() -> Refused:
    return Refused(
        HTTPStatus.SERVICE_UNAVAILABLE, "a service that is still starting", "a service that /readyz calls ready",
        "try again in a second", {"Retry-After": "1"},
    )  # fmt: skip


def open_rules(served: Served, state: Path, on_refused: Callable[[str], object]) -> Rules:
    """state: the state folder. Raises `UserError` for keys, or a token's key, that can't be read."""
    salt = client_salt(StatePaths(state).records(served.system))
    serving, access = served.serving, served.serving.access
    return Rules(
        gate=open_gate(access, state, served.system, lambda client: client_hash(client, salt)),
        max_body_bytes=int(serving.max_body_mib * BYTES_PER_MIB),
        body_timeout_s=access.body_timeout_s,
        cors_origins=access.cors_origins,
        on_refused=on_refused,
    )
