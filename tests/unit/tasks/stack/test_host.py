"""Up, down and status with small real processes in place of the services; the real ones: tests/system/test_stack.py."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from configs.load import Settings
from configs.paths import StatePaths
from flows.run_stack import ports
from tasks.stack import host
from tasks.stack.host import MARK, down, known, status, up
from tasks.stack.process import Started, lives
from tasks.stack.services import HEALTH, HOST, PORTS, Launch, Place
from vision.errors import MachineError, UserError

ROOT = Path(__file__).resolve().parents[4]
FREE = dict.fromkeys(PORTS, 0)
SERVER = """
import http.server, subprocess, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer)
if "flow" in sys.argv:
    print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True).pid, flush=True)
server.serve_forever()
"""
SILENT = "import time; time.sleep(60)"
DYING = "print('no room on the disk'); raise SystemExit(1)"


def small(name: str, code: str = SERVER, *more: str):
    return lambda place: Launch((sys.executable, "-c", code, str(place.ports[name]), *more))


def small_services(**changes):
    return {name: changes.get(name) or small(name) for name in PORTS}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(host, "LAUNCHES", small_services())
    monkeypatch.setattr(host, "deploy", lambda *_, **__: None)
    yield Place(Settings(), StatePaths(tmp_path), "quickstart", PORTS)
    down(tmp_path / "stack")


def pids(place: Place) -> dict[str, int]:
    return {name: one.pid for name, one in known(place.folder).items()}


def gone(pids) -> bool:
    end = time.monotonic() + 15
    while any(lives(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(lives(pid) for pid in pids)


def test_a_second_up_changes_nothing_and_down_ends_all_of_it(place):
    assert {row.state for row in up(place, FREE)} == {"up"}
    before = pids(place)
    assert len(before) == len(PORTS)
    assert {row.state for row in up(place, {})} == {"up"}
    assert pids(place) == before
    assert {row.pid for row in status(place.folder)} == set(before.values())
    assert sorted(down(place.folder)) == sorted(PORTS)
    assert gone(before.values())
    assert {row.state for row in status(place.folder)} == {"down"}
    assert down(place.folder) == []


def test_what_has_died_is_started_again_and_the_others_are_left_alone(place):
    up(place, FREE)
    before = pids(place)
    psutil.Process(before["mlflow"]).kill()
    assert gone([before["mlflow"]])
    assert [row.state for row in status(place.folder) if row.name == "mlflow"] == ["down"]
    up(place, {"mlflow": 0})
    after = pids(place)
    assert {name for name in PORTS if before[name] != after[name]} == {"mlflow"}


def test_down_spares_a_stranger_that_has_the_process_id_of_a_service_that_is_gone(place):
    stranger = subprocess.Popen([sys.executable, "-c", SILENT], start_new_session=True)
    try:
        place.folder.mkdir(parents=True)
        long_ago = psutil.Process(stranger.pid).create_time() - 3600
        pid_file = Started(
            name="mlflow", pid=stranger.pid, started=long_ago, url=f"http://{HOST}:1", health=HEALTH["mlflow"],
            system="quickstart", log=place.folder / "mlflow.log",
        )  # fmt: skip
        (place.folder / "mlflow.json").write_text(pid_file.model_dump_json())
        assert down(place.folder) == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_down_ends_a_flow_that_the_worker_had_begun_in_a_session_of_its_own(place, monkeypatch):
    monkeypatch.setattr(host, "LAUNCHES", small_services(worker=small("worker", SERVER, "flow")))
    up(place, FREE)
    flow = int((place.folder / "worker.log").read_text())
    assert lives(flow)
    down(place.folder)
    assert gone([flow])


def test_a_service_that_does_not_start_says_why_and_nothing_goes_on(place, monkeypatch):
    monkeypatch.setattr(host, "LAUNCHES", small_services(mlflow=small("mlflow", DYING)))
    with pytest.raises(MachineError, match=r"mlflow ended; its last words:\nno room on the disk"):
        up(place, FREE)
    assert pids(place) == {}


KILLED = """
import os, sys, threading
sys.path[:0] = [{root!r}, {tests!r}]
import test_host as t
from pathlib import Path
t.host.LAUNCHES = t.small_services(mlflow=t.small("mlflow", t.SILENT))
t.host.deploy = lambda *_, **__: None
place = t.Place(t.Settings(), t.StatePaths(Path({state!r})), "quickstart", t.PORTS)
t.up(place, t.FREE)
"""


def test_an_up_that_is_killed_half_way_leaves_nothing_running(tmp_path):
    """SIGKILL: no `finally` runs."""
    code = KILLED.format(root=str(ROOT), tests=str(Path(__file__).parent), state=str(tmp_path))
    begun = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, MARK: ""})
    folder, end = tmp_path / "stack", time.monotonic() + 30
    while len(known(folder)) < 4 and time.monotonic() < end:
        time.sleep(0.05)
    started = [one.pid for one in known(folder).values()]
    begun.kill()
    begun.wait()
    assert len(started) == 4
    assert gone(started)
    assert down(folder) == []


def test_a_port_that_is_taken_is_named_with_the_way_round(place):
    with pytest.raises(UserError, match=r'service=\d+(.|\n)*PORTS="service=0"'):
        up_beside_a_stranger(place)
    assert pids(place) == {}


def up_beside_a_stranger(place):
    import socket

    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        up(place, {**FREE, "service": taken.getsockname()[1]})


def test_another_system_or_another_port_is_refused_while_a_stack_is_up(place, monkeypatch):
    monkeypatch.setattr(host, "LAUNCHES", {"mlflow": small("mlflow")})
    up(place, {"mlflow": 0})
    with pytest.raises(UserError, match="make down"):
        up(Place(place.settings, place.state, "tomato_leaf", PORTS), {})
    with pytest.raises(UserError, match="mlflow is up at"):
        up(place, {"mlflow": 1})


@pytest.mark.parametrize("pair", ["mlflow", "mlflow=x", "mlflow=70000", "redis=1", "mlflow=-1"])
def test_a_port_that_is_no_port_of_a_service_is_refused(pair):
    with pytest.raises(UserError, match="NAME=PORT"):
        ports([pair])
