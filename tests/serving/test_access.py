"""The guard before an app: who gets in, what is refused before anything is read, and what every answer says."""

import asyncio
import time

import jwt
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from bentos.access.gate import Gate
from bentos.access.guard import Guard, Rules
from bentos.access.keys import KeyFile, KeyRing, change_keys, new_key
from bentos.access.token import TokenVerifier
from bentos.http.problems import Refused
from bentos.limits.rate import RateLimiter
from configs.access import TokenConfig

SECRET = "0123456789abcdef" * 4


async def echo(request: Request) -> JSONResponse:
    body = await request.body()
    client = request.state.client
    return JSONResponse({"key_id": client.key_id, "hash": client.client_hash, "bytes": len(body)})


async def page(request: Request) -> PlainTextResponse:
    return PlainTextResponse("page", headers={"cache-control": "public"} if request.url.path == "/health" else None)


async def told(_: Request, error: Refused) -> JSONResponse:
    return JSONResponse({"error": error.problem.model_dump()}, error.status, error.headers)


class Service:
    """A small app behind the guard, with keys of its own."""

    def __init__(self, folder) -> None:
        self.keys, self.refused = folder / "keys.json", []
        self.app = Starlette(
            routes=[
                Route("/predict", echo, methods=["POST"]),
                Route("/feedback", echo, methods=["POST"]),
                *(Route(path, page) for path in ("/", "/health", "/docs", "/docs.json", "/web/app.js")),
            ],
            exception_handlers={Refused: told},
        )
        self.limiter = RateLimiter(folder / "rate")
        self.folder = folder

    def key(self, *scopes: str, **more) -> str:
        key, text = new_key(scopes, **more)
        change_keys(self.keys, lambda file: KeyFile(keys=(*file.keys, key)))
        return text

    def rules(self, token: TokenConfig | None = None, per_minute: int = 1000, **more) -> Rules:
        tokens = TokenVerifier(token) if token else None
        gate = Gate(KeyRing(self.keys), tokens, self.limiter, per_minute, lambda name: f"hash of {name}")
        settings = {"max_body_bytes": 1000, "body_timeout_s": 0.2, "on_refused": self.refused.append, **more}
        return Rules(gate, **settings)

    def client(self, host="127.0.0.1", address="127.0.0.1", **rules) -> TestClient:
        self.app.state.rules = self.rules(**rules)
        return TestClient(Guard(self.app, self.app), base_url=f"http://{host}:3000", client=(address, 5000))


@pytest.fixture
def service(tmp_path):
    return Service(tmp_path)


def problem(response, status: int) -> dict:
    assert response.status_code == status, response.text
    return response.json()["error"]


def test_without_keys_this_machine_is_answered(service):
    answer = service.client().post("/predict", content=b"abc")
    assert answer.json() == {"key_id": "anonymous", "hash": "hash of 127.0.0.1", "bytes": 3}


@pytest.mark.parametrize(
    ("host", "address", "headers"),
    [
        ("192.0.2.7", "192.0.2.9", {}),
        ("127.0.0.1", "192.0.2.9", {}),
        ("127.0.0.1", "testclient", {}),
        ("127.0.0.1", "127.0.0.1", {"host": "evil.example:3000"}),
        ("127.0.0.1", "127.0.0.1", {"host": "127.0.0.1.evil.example"}),
        ("127.0.0.1", "127.0.0.1", {"origin": "https://evil.example"}),
        ("127.0.0.1", "127.0.0.1", {"origin": "null"}),
    ],
)
def test_without_keys_nobody_else_is_answered(service, host, address, headers):
    """Another machine, a name that a page made point here (DNS rebinding), a page of another origin."""
    client = service.client(host, address)
    assert "no key" in problem(client.post("/predict", content=b"abc", headers=headers), 401)["got"]
    assert client.get("/health", headers=headers).status_code == 200


def test_a_key_opens_what_its_scopes_name(service):
    text = service.key("predict")
    client = service.client("vision.example", "192.0.2.9")
    for headers in ({"x-api-key": text}, {"authorization": f"Bearer {text}"}, {"authorization": f"bearer {text}"}):
        answer = client.post("/predict", headers=headers)
        assert answer.json()["key_id"] == text.split("_")[1]
    assert "scope feedback" in problem(client.post("/feedback", headers={"x-api-key": text}), 403)["allowed"]


def test_no_key_and_a_wrong_one_are_told_how(service):
    text = service.key("predict")
    client = service.client()
    for headers in ({}, {"x-api-key": "vo_1_2"}, {"x-api-key": text + "0"}, {"authorization": "Basic eDp5"},
                    {"authorization": "Bearer"}, {"x-api-key": ""}, {"x-api-key": b"\xff"}, {"cookie": text}):  # fmt: skip
        answer = client.post("/predict", headers=headers)
        assert "X-API-Key" in problem(answer, 401)["allowed"]
        assert answer.headers["www-authenticate"] == "Bearer"
        assert text[-20:] not in answer.text
    assert problem(client.post(f"/predict?key={text}&api_key={text}"), 401)
    assert set(service.refused) == {"no_key"}


def test_a_key_made_while_running_ends_the_open_door(service, monkeypatch):
    monkeypatch.setattr("bentos.access.keys.LOOK_S", 0.0)
    client = service.client()
    assert client.post("/predict").status_code == 200
    text = service.key("predict")
    problem(client.post("/predict"), 401)
    assert client.post("/predict", headers={"x-api-key": text}).status_code == 200


def test_tokens_work_beside_keys(service, tmp_path):
    (tmp_path / "secret").write_text(SECRET)
    client = service.client(token=TokenConfig(algorithm="HS256", key_file=tmp_path / "secret"))
    token = jwt.encode({"sub": "app", "exp": time.time() + 60, "scope": "predict"}, SECRET, "HS256")
    assert client.post("/predict", headers={"authorization": f"Bearer {token}"}).json()["key_id"] == "token:app"
    problem(client.post("/feedback", headers={"authorization": f"Bearer {token}"}), 403)
    problem(client.post("/predict"), 401)


def test_what_the_table_does_not_name_is_not_there(service):
    """Not even for a key with every scope: BentoML's own descriptions, and spellings of a path that a router might take."""
    headers = {"x-api-key": service.key("predict", "feedback", "keep", "admin")}
    client = service.client()
    for path in ("/docs.json", "/schema.json", "/static_content/x", "/predict/", "//predict", "/PREDICT", "/predict%00",
                 "/.%2fpredict", "/web", "/predictions", "/__metadata__"):  # fmt: skip
        problem(client.post(f"http://127.0.0.1:3000{path}", headers=headers), 404)


def test_before_the_service_is_ready_only_the_open_paths_answer(service):
    client = service.client()
    service.app.state.rules = None
    assert problem(client.post("/predict"), 503)
    assert client.get("/health").status_code == 200


def test_past_the_rate_comes_429_with_the_time_to_wait(service):
    headers = {"x-api-key": service.key("predict")}
    other = {"x-api-key": service.key("predict", requests_per_minute=5)}
    client = service.client(per_minute=3)
    answers = [client.post("/predict", headers=headers) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[0].headers["ratelimit-policy"] == '"minute";q=3;w=60'
    assert [answer.headers["ratelimit"].split(";")[1] for answer in answers] == ["r=2", "r=1", "r=0", "r=0", "r=0"]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 61
    assert "3 requests" in problem(answers[-1], 429)["allowed"]
    assert [client.post("/predict", headers=other).status_code for _ in range(6)] == [200] * 5 + [429]
    assert service.refused == ["rate"] * 3


def test_a_body_that_is_too_long_is_refused_before_or_while_it_comes(service):
    client = service.client()
    assert client.post("/predict", content=bytes(1000)).json()["bytes"] == 1000
    answer = client.post("/predict", content=bytes(1001))
    assert "1000 bytes" in problem(answer, 413)["allowed"]
    assert answer.headers["connection"] == "close"
    problem(client.post("/predict", content=(bytes(400) for _ in range(3))), 413)
    problem(client.post("/predict", headers={"content-length": "9" * 5000}, content=b"x"), 413)


def test_a_body_that_does_not_come_is_ended(service):
    async def ask(parts: list[dict]) -> tuple[int, float]:
        service.app.state.rules = service.rules()
        sent = []

        async def receive():
            if parts:
                return parts.pop(0)
            return await asyncio.sleep(60)

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http", "method": "POST", "path": "/predict", "scheme": "http", "headers": [], "query_string": b"",
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 3000),
        }  # fmt: skip
        start_s = time.perf_counter()
        await Guard(service.app, service.app)(scope, receive, send)
        return sent[0]["status"], time.perf_counter() - start_s

    for parts in ([], [{"type": "http.request", "body": b"abc", "more_body": True}]):
        status, took_s = asyncio.run(ask(parts))
        assert status == 408
        assert took_s < 2
    assert service.refused == ["slow"] * 2


def test_every_answer_carries_the_security_headers(service):
    client = service.client()
    for answer in (client.get("/"), client.post("/predict"), client.get("/docs.json"), client.get("/predict")):
        headers = answer.headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        policy = headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "strict-transport-security" not in headers
    assert client.get("/health").headers["cache-control"] == "public"
    assert client.get("/web/app.js").headers["cache-control"] == "no-cache"
    assert "script-src 'self';" in client.get("/docs").headers["content-security-policy"]
    assert "strict-transport-security" in client.get("https://127.0.0.1/").headers


def test_other_origins_get_in_only_when_named(service):
    text = service.key("predict")
    origin = {"origin": "https://app.example.org"}
    ask = {**origin, "access-control-request-method": "POST", "access-control-request-headers": "x-api-key"}
    closed = service.client("vision.example").options("/predict", headers=ask)
    assert "access-control-allow-origin" not in closed.headers
    client = service.client("vision.example", cors_origins=("https://app.example.org",))
    preflight = client.options("/predict", headers=ask)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "https://app.example.org"
    assert "access-control-allow-credentials" not in preflight.headers
    answer = client.post("/predict", headers={**origin, "x-api-key": text})
    assert answer.headers["access-control-allow-origin"] == "https://app.example.org"
    assert client.post("/predict", headers=origin).headers["access-control-allow-origin"] == "https://app.example.org"
    other = client.options("/predict", headers={**ask, "origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers
