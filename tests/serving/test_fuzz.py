"""Thousands of requests that nobody would write by hand, against the real engine: none is a fault of ours.

Hypothesis makes uploads that are nearly images; schemathesis makes requests of the service's own description, and holds
each answer against it.
"""

import io
import random
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient

from bentos.access.gate import Gate
from bentos.access.guard import Guard, Rules
from bentos.access.keys import KeyFile, KeyRing, change_keys, new_key
from bentos.limits.rate import RateLimiter

pytestmark = pytest.mark.slow

EXAMPLES, UPLOADS_EACH = 500, 20
BENTOS_OWN = {"/livez", "/readyz"}
REFUSALS = {400, 401, 404, 405, 408, 413, 415, 422, 429}
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "ICO")
TYPES = ("image/jpeg", "application/octet-stream", "image/svg+xml", "text/plain", "multipart/form-data",
         "multipart/form-data; boundary=x", "application/json", "", "\xe9", "image/jpeg; charset=\"")  # fmt: skip
CALM = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)  # fmt: skip


def image(image_format: str) -> bytes:
    data = io.BytesIO()
    noise = Image.frombytes("RGB", (40, 30), random.Random(image_format).randbytes(40 * 30 * 3))
    (noise.convert("P") if image_format == "GIF" else noise).save(data, image_format)
    return data.getvalue()


SEEDS = tuple(image(image_format) for image_format in FORMATS)


def damaged(seed: int) -> bytes:
    """An image with bytes changed, cut out, doubled, or with another's put in; often in its header."""
    chance = random.Random(seed)
    data = bytearray(chance.choice(SEEDS))
    for _ in range(chance.choice((0, 1, 2, 5, 30))):
        at = min(len(data), int(chance.expovariate(1 / chance.choice((20, 400)))))
        match chance.randrange(5):
            case 0 if at < len(data):
                data[at] = chance.choice((0, 0xFF, 0x7F, chance.randrange(256)))
            case 1:
                data[at : at + 4] = chance.randbytes(4)
            case 2:
                del data[at : at + chance.randrange(1, 200)]
            case 3:
                data[at:at] = data[: chance.randrange(1, 60)]
            case _:
                data[at:at] = chance.choice(SEEDS)[: chance.randrange(1, 200)]
    return bytes(data[: chance.choice((len(data), chance.randrange(len(data) + 1)))])


@pytest.fixture(scope="module")
def key(tmp_path_factory) -> tuple[Path, str]:
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    made, text = new_key(("predict", "feedback"), requests_per_minute=1_000_000)
    change_keys(path, lambda _: KeyFile(keys=(made,)))
    return path, text


@pytest.fixture(scope="module")
def app(worker, key):
    """The worker of the other tests behind the guard."""
    gate = Gate(KeyRing(key[0]), None, RateLimiter(key[0].parent / "rate"), 100, lambda name: name)
    worker.client.app.state.rules = Rules(gate, 2**20, 10)
    yield Guard(worker.client.app, worker.client.app)
    worker.client.app.state.rules = None


@pytest.fixture(scope="module")
def client(app, key):
    return TestClient(app, headers={"x-api-key": key[1]}, raise_server_exceptions=False)


uploads = st.lists(
    st.tuples(
        st.integers(0, 2**32), st.sampled_from(("raw", "form", "form", "both")), st.sampled_from(TYPES),
        st.sampled_from(("/predict", "/predict", "/predict", "/explain")),
        st.sampled_from(("", "?top_k=2", "?top_k=x", "?keep=true", "?explain=true", "?top_k=999999999999999999999", "?%00=%ff")),
        st.text(max_size=12),
    ),
    min_size=UPLOADS_EACH, max_size=UPLOADS_EACH,
)  # fmt: skip


def test_ten_thousand_damaged_uploads_and_not_one_fault_of_ours(client, draw):
    seen: dict[int, int] = {}

    @CALM
    @given(uploads)
    def ask(batch):
        for seed, shape, content_type, path, query, name in batch:
            data = damaged(seed)
            if shape == "raw":
                headers = {"content-type": content_type.encode("latin-1")}
                answer = client.post(path + query, content=data, headers=headers)
            else:
                file = ("file", (name, data, "image/jpeg"))
                answer = client.post(path + query, files=[file] * (1 + (shape == "both")))
            seen[answer.status_code] = seen.get(answer.status_code, 0) + 1
            assert answer.status_code in {200, 403, *REFUSALS}, (seed, shape, path, query, answer.text)
            if answer.status_code != 200:
                assert set(answer.json()["error"]) == {"got", "allowed", "do"}
            if "results" in (answer.json() if answer.headers["content-type"] == "application/json" else {}):
                assert all("internal" not in str(result.get("error")) for result in answer.json()["results"])

    ask()
    assert sum(seen.values()) >= EXAMPLES * UPLOADS_EACH
    # Both ends of the road were walked: images that are still whole, and every way to refuse one.
    assert {200, 400, 413, 415, 422} <= set(seen), seen
    assert client.post("/predict", files={"file": draw("moss", 1)}).json()["label"] == "moss"


def test_requests_made_from_our_own_description_get_answers_as_described(app, key, client, draw):
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    checks = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
    asked: dict[str, set[int]] = {}
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path in BENTOS_OWN:
            continue

        @settings(CALM, max_examples=60)
        @given(operation.as_strategy())
        def ask(case):
            response = case.call_and_validate(checks=checks, headers={"x-api-key": key[1]})
            asked.setdefault(case.operation.path, set()).add(response.status_code)

        ask()
    assert set(asked) == set(schema.raw_schema["paths"]) - BENTOS_OWN
    # Behind the door, not before it.
    assert not any(401 in statuses for statuses in asked.values()), asked
    assert asked["/health"] == asked["/model/version"] == {200}
    assert client.post("/predict", files={"file": draw("moss", 1)}).json()["label"] == "moss"
