"""Swap, refusal, rollback and kill -9 of a real server of two workers under load."""

import dataclasses
import os
import signal
import socket
import tempfile
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.serving.connections_stage import packets
from vision.export.assemble import assemble_package
from vision.records_read import lines, log_files
from vision.release import ReleasedModel, read_release, write_release

pytestmark = pytest.mark.slow


class Load:
    """Clients that ask without a pause until the block ends; `wrong` holds what was not a 200."""

    def __init__(self, url: str, data: bytes, clients: int = 4) -> None:
        self._url, self._data, self._stop = url, data, threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]
        self.wrong, self.answers = [], []

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, timeout=30, trust_env=False) as client:
            while not self._stop.is_set():
                try:
                    response = client.post("/predict", content=self._data, headers={"content-type": "image/jpeg"})
                    if response.status_code == 200:
                        self.answers.append(response.json())
                    else:
                        self.wrong.append(response.text)
                except httpx.HTTPError as error:
                    self.wrong.append(repr(error))

    def until(self, version: int, within_s: float = 20) -> None:
        """Both workers answer with this version."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if {answer["model"]["version"] for answer in self.answers[-200:]} == {version}:
                return
            time.sleep(0.1)
        raise AssertionError(f"version {version} does not answer alone after {within_s} s")


def release(system: Path, version: int, package_sha: str) -> None:
    """The next release, written as `release_model` does."""
    path = system / "release.json"
    now = read_release(path)
    champion = ReleasedModel(version=version, package_sha=package_sha, uri=f"packages/{package_sha}")
    write_release(path, now.model_copy(update={"no": now.no + 1, "champion": champion, "reason": "test"}))


def refusal(url: str, within_s: float = 20) -> dict:
    """What a worker says of the release that it refused."""
    deadline = time.monotonic() + within_s
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        while time.monotonic() < deadline:
            if said := client.get("/health").json()["refused_release"]:
                return said
            time.sleep(0.1)
    raise AssertionError(f"no worker refused the release within {within_s} s")


def test_swap_refusal_and_rollback_under_load_fail_no_request(live, made, draw):
    good, bad = (
        assemble_package(live.system / "packages", dataclasses.replace(made.parts, metrics={"note": note}))
        for note in ("good", "to be harmed")
    )
    with (live.system / "packages" / bad / "model.onnx").open("r+b") as model:
        model.write(b"\x00")
    with Load(live.url, draw("moss", 1)) as load:
        load.until(3)
        release(live.system, 4, good)
        load.until(4)
        release(live.system, 5, bad)
        assert "has changed" in refusal(live.url)["reason"]
        load.until(4)
        release(live.system, 3, made.package.package_sha)
        load.until(3)
    assert load.wrong == []
    assert {answer["label"] for answer in load.answers} == {"moss"}
    assert {answer["model"]["version"] for answer in load.answers} == {3, 4}


def recorded(system: Path) -> set[str]:
    return {row["id"] for file in log_files(system / "records") for row, _ in lines(file.growing.read_bytes()) if row}


def test_a_killed_server_loses_no_record_of_what_it_answered(live, draw):
    """kill -9 of both workers under load: every answer that a client got is on record."""
    with Load(live.url, draw("slate", 1)) as load:
        time.sleep(1.0)
        workers = [int(pid) for pid in Path(f"/proc/{live.pid}/task/{live.pid}/children").read_text().split()]
        for pid in workers:
            if b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
        time.sleep(1.0)
    got = {answer["prediction_id"] for answer in load.answers}
    assert len(got) > 50
    assert load.wrong  # They were killed indeed.
    assert got <= recorded(live.system)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            assert httpx.get(f"{live.url}/readyz", timeout=2, trust_env=False).status_code == 200
            break
        except httpx.HTTPError:
            time.sleep(0.2)
    else:
        raise AssertionError("the workers did not come back")


def test_bentoml_runs_our_server_so_that_its_workers_meet(live):
    """It starts whatever `uvicorn.Server` names once the service is loaded; another release of it may not."""
    rates = Path(tempfile.gettempdir()) / f"visionops-{os.getuid()}-rate"
    assert len(list(rates.glob(f"*/workers-{live.pid}-mail*"))) == 2


def test_an_answer_of_the_service_leaves_in_one_piece(live):
    """Under BentoML's own logging and layers too, with which it could fall back to uvicorn's two, and nobody would see it."""
    host, port = live.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        for _ in range(20):
            connection.sendall(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
            head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
            assert b"content-length: %d" % len(body) in head and body.endswith(b"}")
        assert packets(connection) == 20
