"""One real server of one worker: overload, recovery, and a stop that answers what it had accepted. In this order."""

import io
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tasks.packaging.smoke import serving

PROJECT = Path(__file__).resolve().parents[2]
PLACES = 8
LARGE_PLACES = PLACES // 2
PATIENCE_S = 30

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(state, tmp_path_factory):
    env = {
        "VISIONOPS_STATE": str(state),
        "VISIONOPS_SYSTEM": "quickstart",
        "VISIONOPS__SERVING__WORKERS": "1",
        "VISIONOPS__SERVING__MAX_QUEUE": str(PLACES),
        "VISIONOPS__SERVING__MAX_IMAGES": str(LARGE_PLACES),
    }
    with serving(".", PROJECT, tmp_path_factory.mktemp("server") / "serve.log", env) as running:
        yield running


@pytest.fixture(scope="module")
def large() -> bytes:
    """Takes the better part of a second to decode."""
    buffer = io.BytesIO()
    Image.new("RGB", (6000, 6000), (70, 130, 60)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def post(url: str, data: bytes) -> httpx.Response:
    return httpx.post(f"{url}/predict", files={"file": data}, timeout=PATIENCE_S, trust_env=False)


def test_overload_is_refused_with_the_seconds_to_wait_and_passes(server, large, draw):
    with ThreadPoolExecutor(3 * PLACES) as pool:
        answers = list(pool.map(lambda _: post(server.url, large), range(3 * PLACES)))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert {answer.status_code for answer in answers} == {200, 429}
    assert len(refused) >= 3 * PLACES - 2 * LARGE_PLACES
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert {answer.headers["connection"] for answer in refused} == {"close"}, "the next one may meet a worker with room"
    assert post(server.url, draw("moss", 1)).json()["label"] == "moss"


def test_no_thread_of_the_engine_is_pinned_to_some_of_the_cores(server):
    workers = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/stat") if parent_of(path) == server.pid]
    allowed = {
        line.split()[1]
        for pid in workers
        for status in Path(f"/proc/{pid}/task").glob("*/status")
        for line in status.read_text().splitlines()
        if line.startswith("Cpus_allowed:")
    }
    [own] = [line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "Cpus_allowed:" in line]
    assert allowed == {own}


def parent_of(stat: Path) -> int:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except OSError:
        return -1


def test_a_server_that_is_told_to_stop_answers_what_it_had_accepted(server, large):
    """Runs last: it ends the server."""
    with ThreadPoolExecutor(LARGE_PLACES) as pool:
        asked = [pool.submit(post, server.url, large) for _ in range(LARGE_PLACES)]
        stop_s = time.monotonic() + PATIENCE_S
        while httpx.get(f"{server.url}/health", trust_env=False, timeout=60).json()["queue_images"] < LARGE_PLACES:
            assert time.monotonic() < stop_s
            time.sleep(0.01)
        os.kill(server.pid, signal.SIGTERM)
        assert [answer.result().status_code for answer in asked] == [200] * LARGE_PLACES
    with pytest.raises(httpx.TransportError):
        while time.monotonic() < stop_s:
            httpx.get(f"{server.url}/livez", trust_env=False, timeout=60)
            time.sleep(0.1)
