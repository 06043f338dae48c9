"""Who gets in and how often, over real connections to two workers; and what the log says afterwards."""

import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from request_service import PLENTY, PROJECT, image_file

from tasks.packaging.smoke import serving
from vision.errors import MachineError

pytestmark = pytest.mark.slow


def test_no_key_or_a_wrong_one(service, fault):
    files = image_file(service.draw("moss", 2))
    for given, headers in (
        ("no key", {"x-api-key": ""}),
        ("a key that nobody made", {"x-api-key": "vo_0123456789ab_guess"}),
    ):
        fault.saw(
            "Requests",
            given,
            exit=401,
            says=service.refuses(401, files=files, headers=headers),
            kept="no image is read",
        )
    answer = httpx.post(
        f"{service.url}/predict?key={service.key}&api_key={service.key}", files=files, trust_env=False, timeout=60
    )
    assert answer.status_code == 401
    fault.saw(
        "Requests", "a good key in the address instead of a header", exit=401, says=answer.json()["error"]["got"],
        kept="no log holds it",
    )  # fmt: skip


def test_a_revoked_key_ends_within_a_second(service, fault):
    text = service.new_key(PLENTY)
    headers, files = {"x-api-key": text}, image_file(service.draw("moss", 2))

    def all_answer(status: int, within_s: float) -> None:
        """From both workers: sixteen connections of their own."""
        end_s = time.monotonic() + within_s
        while time.monotonic() < end_s:
            with (
                httpx.Client(base_url=service.url, timeout=20, trust_env=False) as client,
                ThreadPoolExecutor(16) as pool,
            ):
                asked = [pool.submit(client.post, "/predict", headers=headers, files=files) for _ in range(16)]
                seen = Counter(answer.result().status_code for answer in asked)
            if set(seen) == {status}:
                return
        raise AssertionError(f"not all {status}: {seen}")

    all_answer(200, 30)
    command = [sys.executable, "-m", "bentos.access", "--file", str(service.keys), "revoke", text]
    subprocess.run(command, cwd=PROJECT, check=True, capture_output=True)
    time.sleep(1)
    all_answer(401, 0.1)
    said = service.refuses(401, files=files, headers=headers)
    fault.saw("Requests", "a key that was revoked a second ago", exit=401, says=said, kept="other keys go on")


def test_a_token_that_is_not_good(service, fault):
    files = image_file(service.draw("moss", 2))
    claims = {"sub": "app", "scope": "predict", "exp": time.time() + 60}
    good = jwt.encode(claims, service.issuer, "EdDSA")
    headers = {"authorization": f"Bearer {good}"}
    assert (
        httpx.post(f"{service.url}/predict", headers=headers, files=files, trust_env=False, timeout=60).status_code
        == 200
    )
    stranger = Ed25519PrivateKey.generate()
    for given, token in (
        ("a token signed by somebody else", jwt.encode(claims, stranger, "EdDSA")),
        ("a token that has expired", jwt.encode({**claims, "exp": time.time() - 60}, service.issuer, "EdDSA")),
        ("a token without a signature (alg none)", jwt.encode(claims, None, "none")),
        ("a token signed with another algorithm", jwt.encode(claims, "0" * 64, "HS256")),
    ):
        said = {"authorization": f"Bearer {token}"}
        answer = httpx.post(f"{service.url}/predict", headers=said, files=files, trust_env=False, timeout=60)
        assert answer.status_code == 401
        fault.saw("Requests", given, exit=401, says=answer.json()["error"]["got"], kept="no image is read")
    answer = httpx.post(f"{service.url}/feedback", headers=headers, json={}, trust_env=False, timeout=60)
    assert answer.status_code == 403
    said = answer.json()["error"]["allowed"]
    fault.saw("Requests", "a token without the scope for this", exit=403, says=said, kept="nothing is written")


def test_a_client_past_its_rate(service, fault):
    """250 at once, over two workers: exactly 100 are allowed."""
    headers = {"x-api-key": service.new_key(100), "content-type": "image/jpeg"}
    time.sleep(0.6)

    with httpx.Client(base_url=service.url, headers=headers, timeout=20, trust_env=False) as client:

        def ask(_) -> httpx.Response:
            return client.post("/predict", content=b"no image")

        with ThreadPoolExecutor(32) as pool:
            answers = list(pool.map(ask, range(250)))
    assert sorted(answer.status_code for answer in answers) == [415] * 100 + [429] * 150
    refused = [answer for answer in answers if answer.status_code == 429]
    assert all(1 <= int(answer.headers["retry-after"]) <= 61 for answer in refused)
    said = refused[0].json()["error"]["got"]
    fault.saw(
        "Requests",
        "250 requests at once of a key that has 100 a minute",
        exit=429,
        says=said,
        kept="exactly 100 are let in, over all workers",
    )


def test_feedback_that_fits_nothing(service, fault):
    prediction_id = service.client.post("/predict", files={"file": service.draw("moss", 1)}).json()["prediction_id"]
    for given, status, body in (
        (
            "feedback about an id that was never given",
            404,
            {"id": "01934c3e-8a2b-7c4d-9e5f-0a1b2c3d4e5f", "label": "moss"},
        ),
        ("feedback whose id is a path", 404, {"id": "../../keys.json", "label": "moss"}),
        ("feedback with a label that the model does not have", 422, {"id": prediction_id, "label": "mildew"}),
        (
            "feedback with boxes, of a model that tells no places",
            422,
            {"id": prediction_id, "label": "moss", "boxes": [{"label": "moss", "box": [1, 2, 3, 4]}]},
        ),
    ):
        said = service.refuses(status, path="/feedback", json=body)
        fault.saw("Requests", given, exit=status, says=said.replace(prediction_id, "…"), kept="no feedback is written")
    for label in ("amber", "moss"):
        answer = service.client.post("/feedback", json={"id": prediction_id, "label": label})
        assert answer.status_code == 200
    passport = service.client.get(f"/predictions/{prediction_id}/lineage").json()
    assert passport["feedback"]["label"] == "moss"
    fault.saw(
        "Requests",
        "feedback twice about one prediction",
        exit=200,
        says="what was written",
        kept="both; the last one counts",
    )


def test_no_key_and_no_image_stand_in_the_log(service, fault):
    """Runs last of those that use the server: after all that was tried above."""
    service.client.get(f"/health?key={service.key}")
    log = service.log.read_text(errors="replace")
    assert log
    for text in service.texts:
        assert text not in log
        assert text.split("_", 2)[2] not in log
    assert "eyJ" not in log
    assert "JFIF" not in log
    assert "Traceback" not in log
    fault.saw(
        "Requests", "all of the above, then a look at the log", exit="–", says="no key, no token, no image, no traceback",
        kept="the log",
    )  # fmt: skip


def test_a_server_for_everybody_without_a_key(server_of_requests, tmp_path, fault):
    env = {"VISIONOPS_STATE": str(server_of_requests.state), "VISIONOPS_SYSTEM": "quickstart"}
    with pytest.MonkeyPatch.context() as patch, pytest.raises(MachineError) as caught:
        patch.setattr("tasks.packaging.smoke.HOST", "0.0.0.0")
        with serving(".", PROJECT, tmp_path / "serve.log", env):
            pass
    assert "Traceback" not in (tmp_path / "serve.log").read_text()
    assert "ended with code 1" in str(caught.value)
    said = next(line for line in str(caught.value).splitlines() if "would listen" in line)
    fault.saw(
        "Requests", "a server on every interface while no key was made", exit=1, says=said, kept="nothing listens"
    )
