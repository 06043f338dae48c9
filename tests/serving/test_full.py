"""Who finds no place is answered before a key is looked up; and what stands before BentoML's layers."""

import asyncio
from types import SimpleNamespace

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from bentos.batching.batcher import Overloaded
from bentos.connections.server import Refusal
from bentos.http.full import READ_BYTES, FullHouse
from bentos.http.problems import Refused, answer_error, answer_fault
from bentos.http.shortcut import Ahead, Shortcut


def asked(path: str = "/predict", method: str = "POST", length: int | None = 1000) -> dict:
    headers = [] if length is None else [(b"content-length", str(length).encode())]
    return {"type": "http", "path": path, "method": method, "scheme": "http", "headers": headers, "query_string": b""}


def answered(app, scope) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body; status 0 when nothing was sent."""
    sent = []

    async def send(message) -> None:
        sent.append(message)

    asyncio.run(app(scope, lambda: None, send))
    if not sent:
        return 0, {}, b""
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}, sent[1]["body"]


def house(wait_s: float | None, origins: tuple[str, ...] = ()) -> FullHouse:
    state = SimpleNamespace(
        predictor=SimpleNamespace(full_for_s=lambda: wait_s), rules=SimpleNamespace(cors_origins=origins)
    )
    return FullHouse(SimpleNamespace(state=state))


def read(refusal: Refusal) -> tuple[dict[str, str], bytes]:
    lines, _, body = refusal.rest.partition(b"\r\n\r\n")
    return dict(line.decode().split(": ", 1) for line in lines.split(b"\r\n")), body


def test_a_full_service_says_so_in_the_form_and_with_the_headers_of_every_answer():
    refusal = house(2.1)(asked(), lambda: False)
    headers, body = read(refusal)
    assert refusal.status == 429 and headers["retry-after"] == "3" and b'"got"' in body
    assert headers["content-length"] == str(len(body)) and headers["x-content-type-options"] == "nosniff"
    assert "strict-transport-security" not in headers


@pytest.mark.parametrize(
    ("wait_s", "scope", "origins"),
    [
        (None, asked(), ()),
        (1.0, asked(path="/explain"), ()),
        (1.0, asked(method="GET"), ()),
        (1.0, asked(), ("https://a.example",)),
    ],
    ids=["there is room", "another path", "another method", "a page of elsewhere, which needs more headers"],
)
def test_all_others_go_on(wait_s, scope, origins):
    assert house(wait_s, origins)(scope, lambda: False) is None


@pytest.mark.parametrize(
    ("length", "crowded", "closes"),
    [(1000, False, False), (1000, True, True), (READ_BYTES + 1, False, True), (None, False, True)],
    ids=["short", "another worker has fewer", "long", "not announced"],
)
def test_a_connection_lasts_unless_another_worker_has_fewer_or_its_body_is_long(length, crowded, closes):
    refusal = house(1.0)(asked(length=length), lambda: crowded)
    assert refusal.closes is closes and ("connection" in read(refusal)[0]) is closes


def test_who_waits_to_send_its_body_is_not_waited_for():
    scope = asked()
    scope["headers"].append((b"expect", b"100-continue"))
    assert house(1.0)(scope, lambda: False).closes


def test_paths_that_are_named_go_before_the_outer_layers_and_no_others():
    met = []

    async def inner(scope, receive, send) -> None:
        met.append(scope["path"] if scope["type"] == "http" else scope["type"])

    class Outer:
        def __init__(self, app) -> None:
            self._app = app

        async def __call__(self, scope, receive, send) -> None:
            met.append("outer")
            await self._app(scope, receive, send)

    app = Starlette()
    app.middleware_stack = Outer(Ahead(inner, ("/predict",)))
    for _ in range(2):
        asyncio.run(app({"type": "lifespan"}, None, None))
    met.clear()
    for path in ("/predict", "/health"):
        asyncio.run(app(asked(path), None, None))
    assert met == ["/predict", "outer", "/health"]


async def good(request):
    return PlainTextResponse("good")


async def refused(request):
    raise Refused(415, "text", "an image", "send one")


async def broken(request):
    raise OSError("disk")


@pytest.fixture
def shortcut():
    endpoints = {"/good": good, "/refused": refused, "/broken": broken}
    own = Starlette(
        routes=[Route(path, endpoint, methods=["POST"]) for path, endpoint in endpoints.items()],
        exception_handlers={Refused: answer_error, Overloaded: answer_error, Exception: answer_fault},
    )
    own.state.predictor = SimpleNamespace(observer=SimpleNamespace(refused=lambda reason: None))
    return Shortcut(PlainTextResponse("behind"), own, endpoints)


def test_an_endpoint_that_is_called_directly_answers_as_its_route_would(shortcut):
    assert answered(shortcut, asked("/good"))[::2] == (200, b"good")
    assert answered(shortcut, asked("/refused"))[0] == 415
    assert answered(shortcut, asked("/good", method="GET"))[0] == 405
    assert answered(shortcut, asked("/else"))[2] == b"behind"


def test_a_fault_is_answered_without_its_trace_and_told_to_the_server(shortcut):
    with pytest.raises(OSError, match="disk"):
        answered(shortcut, asked("/broken"))
