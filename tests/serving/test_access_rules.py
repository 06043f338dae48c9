"""What needs no service to be seen: which paths are open, which addresses are ours, which settings are taken."""

import asyncio
from types import SimpleNamespace

import pytest

from bentos.access.bind import check_bind, is_loopback
from bentos.access.gate import ANONYMOUS_SCOPES
from bentos.access.guard import Guard
from bentos.access.scopes import OPEN, SCOPES, scope_of
from bentos.http.app import create_app
from configs.access import AccessConfig
from vision.errors import UserError


def test_every_route_of_the_service_has_its_row():
    paths = {route.path for route in create_app().routes}
    assert paths
    assert {path for path in paths if scope_of(path.replace("{id}", "x").replace("{path:path}", "x")) is None} == set()
    assert scope_of("/predict") == scope_of("/predictions/x/lineage") == "predict"
    assert {path for path, scope in SCOPES.items() if scope == OPEN} == {
        "/", "/docs", "/openapi.json", "/health", "/healthz", "/livez", "/readyz", "/metrics", "/favicon.ico",
    }  # fmt: skip


def test_what_is_released_is_told_to_admins_only_and_nobody_is_one_without_a_key():
    assert scope_of("/release") == "admin"
    assert ANONYMOUS_SCOPES.isdisjoint({"admin", "keep"})


def test_cors_takes_no_star():
    with pytest.raises(ValueError, match="cors_origins"):
        AccessConfig(cors_origins=("*",))
    assert AccessConfig().cors_origins == ()


def test_a_websocket_is_closed():
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(Guard(None, SimpleNamespace(state=None))({"type": "websocket"}, None, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("::ffff:127.0.0.1", True),
     ("0.0.0.0", False), ("::", False), ("192.168.1.7", False), ("example.org", False), (None, False), ("", False)],
)  # fmt: skip
def test_only_loopback_needs_no_keys(host, loopback):
    assert is_loopback(host) is loopback
    check_bind(str(host), locked=True)
    if not loopback:
        with pytest.raises(UserError, match="knows no key"):
            check_bind(str(host), locked=False)
