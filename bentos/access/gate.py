"""Who asks, may they, and how often: one decision for each request, in microseconds."""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from bentos.access.bind import is_loopback
from bentos.access.keys import PREFIX, KeyRing, keys_file
from bentos.access.token import TokenRefused, TokenVerifier
from bentos.hooks import Client
from bentos.http.problems import Refused, retry_after
from bentos.limits.rate import RateLimiter, Spent, host_folder
from configs.access import AccessConfig
from configs.paths import StatePaths

log = logging.getLogger("bentos.access")

ANONYMOUS = "anonymous"
ANONYMOUS_SCOPES = frozenset({"predict", "feedback"})
"""Without a key nobody keeps images or administers."""
HOW = "header `X-API-Key: vo_…`, or `Authorization: Bearer …` with a key or a token"
CLIENTS = 4096
"""Clients that are remembered, so that each is hashed once."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that may go on. spent: what it took of the client's rate."""

    client: Client
    spent: Spent


class Gate:
    def __init__(
        self,
        keys: KeyRing,
        tokens: TokenVerifier | None,
        limiter: RateLimiter,
        requests_per_minute: int,
        hashed: Callable[[str], str],
    ) -> None:
        """hashed: a client's name -> the salted hash that stands in records."""
        self._keys, self._tokens, self._limiter, self._hashed = keys, tokens, limiter, hashed
        self._per_minute = requests_per_minute
        self._clients: dict[tuple[str, frozenset[str], str | None], Client] = {}

    @property
    def locked(self) -> bool:
        """Nobody gets in without a key or a token."""
        return self._tokens is not None or self._keys.any

    def admit(self, scope: Mapping[str, Any], needed: str) -> Admitted:
        """scope: of an ASGI request. Raises `Refused`: 401 who are you, 403 not with this key, 429 too often."""
        client, per_minute = self._client(scope)
        if needed not in client.scopes:
            raise _not_allowed(needed, client.scopes)
        spent = self._limiter.take(client.key_id, per_minute)
        if spent.retry_after_ms is not None:
            raise _too_often(spent)
        return Admitted(client, spent)

    def _client(self, scope: Mapping[str, Any]) -> tuple[Client, int]:
        credential = _credential(scope["headers"])
        if credential is None:
            return self._anonymous(scope), self._per_minute
        if credential.startswith(f"{PREFIX}_"):
            key = self._keys.find(credential)
            if key is None:
                raise _unknown("a key that is not known, has expired or was revoked")
            return self._named(key.id, frozenset(key.scopes)), key.requests_per_minute or self._per_minute
        if self._tokens is None:
            raise _unknown("a credential that is no API key; this service takes no tokens")
        try:
            token = self._tokens.verify(credential)
        except TokenRefused as error:
            raise _unknown(str(error)) from None
        return self._named(token.key_id, token.scopes), self._per_minute

    def _anonymous(self, scope: Mapping[str, Any]) -> Client:
        """Only a program on this machine, and only while there are no keys. Raises `Refused`."""
        if self.locked:
            raise _unknown("no key")
        ends = [(scope.get(end) or (None,))[0] for end in ("client", "server")]
        if not all(map(is_loopback, ends)):
            raise _unknown("no key, from another machine; none has been made yet")
        for name in (b"host", b"origin"):
            # A web page that this machine's browser shows must not get in: by its own name for 127.0.0.1, or across.
            value = _header(scope["headers"], name)
            if value is not None and not is_loopback(_host(value)):
                raise _unknown(f"no key, and {name.decode()} {value[:100]!r} is not this machine")
        return self._named(ANONYMOUS, ANONYMOUS_SCOPES, ends[0])

    def _named(self, key_id: str, scopes: frozenset[str], address: str | None = None) -> Client:
        """address: of who has no key, and is told apart by it."""
        known = self._clients.get((key_id, scopes, address))
        if known is None:
            if len(self._clients) >= CLIENTS:
                self._clients.clear()
            known = Client(key_id, self._hashed(address or key_id), scopes, address)
            self._clients[key_id, scopes, address] = known
        return known


def open_gate(config: AccessConfig, state: Path, system: str, hashed: Callable[[str], str]) -> Gate:
    """Raises `UserError` for keys or a token key that can't be read, `MachineError` for a rate folder of another's."""
    keys = KeyRing(keys_file(state, system, config.keys_file))
    tokens = TokenVerifier(config.token) if config.token else None
    limiter = RateLimiter(host_folder(StatePaths(state).system(system)))
    gate = Gate(keys, tokens, limiter, config.requests_per_minute, hashed)
    if not gate.locked:
        log.warning("no API key: only programs on this machine are answered. python -m bentos.access create makes one")
    return gate


def has_lock(config: AccessConfig, state: Path, system: str) -> bool:
    """Would `open_gate` be locked? Raises the same."""
    tokens = TokenVerifier(config.token) if config.token else None
    return tokens is not None or KeyRing(keys_file(state, system, config.keys_file)).any


def rate_headers(spent: Spent) -> list[tuple[bytes, bytes]]:
    """RateLimit header fields of the IETF's HTTPAPI draft (draft-ietf-httpapi-ratelimit-headers-10)."""
    reset_s = math.ceil(spent.reset_ms / 1000)
    return [
        (b"ratelimit-policy", b'"minute";q=%d;w=60' % spent.limit),
        (b"ratelimit", b'"minute";r=%d;t=%d' % (spent.remaining, reset_s)),
    ]


def _header(headers: list[tuple[bytes, bytes]], name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in headers if key == name), None)


def _credential(headers: list[tuple[bytes, bytes]]) -> str | None:
    """Never from the address: what stands in a URL ends up in logs and histories."""
    found = None
    for name, value in headers:
        if name == b"x-api-key" and value.strip():
            return value.decode("latin-1").strip()
        if name == b"authorization":
            kind, _, rest = value.decode("latin-1").partition(" ")
            found = rest.strip() if kind.lower() == "bearer" else "another scheme than Bearer"
    return found


def _host(value: str) -> str:
    """`http://localhost:3000` or `[::1]:3000` -> the name alone."""
    name = value.rpartition("://")[2]
    return name.partition("]")[0].strip("[") if name.startswith("[") else name.partition(":")[0]


def _unknown(got: str) -> Refused:
    return Refused(HTTPStatus.UNAUTHORIZED, got, HOW, "ask the operator for a key", {"WWW-Authenticate": "Bearer"})


def _not_allowed(needed: str, scopes: frozenset[str]) -> Refused:
    has = ", ".join(sorted(scopes)) or "no scope"
    return Refused(HTTPStatus.FORBIDDEN, f"a key with {has}", f"a key with the scope {needed}", "ask for such a key")


def _too_often(spent: Spent) -> Refused:
    headers = {name.decode(): value.decode() for name, value in rate_headers(spent)}
    return Refused(
        HTTPStatus.TOO_MANY_REQUESTS,
        f"more than {spent.limit} requests in a minute",
        f"{spent.limit} requests in any minute",
        "try again after the seconds in Retry-After",
        {**headers, **retry_after((spent.retry_after_ms or 0) / 1000)},
    )
