"""A service on an encrypted package, by the command of the image: it answers, keeps connections, and leaves nothing behind."""

import contextlib
import http.client
import importlib
import json
import os
import re
import subprocess
import time
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest

from bentos.releasing.plain import COPY, SHARED_MEMORY
from tasks.packaging.device import write_device
from tasks.packaging.smoke import free_port, smoke
from vision.package_key import new_key, read_key

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE_S = 120
UVICORNS_OWN_S = 5
"""After which a connection would be closed without the image's option."""
pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    own = importlib.import_module("tests.serving.conftest")
    return own.make_package(tmp_path_factory.getbasetemp()).package


@pytest.fixture
def start(package, tmp_path):
    """Starts the service, as often as it is called; every process of it is gone in the end."""
    new_key(tmp_path / "key")
    write_device(package, 3, "quickstart", tmp_path / "state", read_key(tmp_path / "key"))
    dockerfile = (PROJECT / "deploy" / "image" / "Dockerfile").read_text()
    command = json.loads(re.search(r"^CMD (\[.*\])$", dockerfile, re.MULTILINE)[1])
    env = {
        **os.environ,
        "PATH": f"{PROJECT / '.venv' / 'bin'}:{os.environ['PATH']}",
        "VISIONOPS_STATE": str(tmp_path / "state"),
        "VISIONOPS_PACKAGE_KEY_FILE": str(tmp_path / "key"),
        "VISIONOPS__SERVING__WORKERS": "2",
        "BENTOML_HOME": str(tmp_path / "bentoml"),
    }
    started = []

    def begin() -> tuple[subprocess.Popen, int]:
        port = free_port()
        words = [*(word.replace("/app/bento", ".") for word in command), "--host", "127.0.0.1", "--port", str(port)]
        with (tmp_path / "log").open("ab") as log:
            started.append(subprocess.Popen(words, cwd=PROJECT, env=env, stdout=log, stderr=log))
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end and started[-1].poll() is None:
            try:
                urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5)
                return started[-1], port
            except OSError:
                time.sleep(0.2)
        raise AssertionError((tmp_path / "log").read_text()[-3000:])

    yield begin
    for one in started:
        kill(one)


def kill(server: subprocess.Popen) -> None:
    """Its workers too: they outlive a main process that is killed, which goes first because it would start new ones."""
    if server.poll() is None:
        family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(family, timeout=30)
        server.wait(30)


def copies(package) -> list[Path]:
    folder = SHARED_MEMORY / f"visionops-{os.getuid()}-packages"
    return [path for path in folder.glob(package.package_sha) if COPY.fullmatch(path.name)]


def test_it_answers_takes_the_next_release_and_the_plain_package_goes_with_it(start, package, tmp_path):
    server, port = start()
    assert smoke(f"http://127.0.0.1:{port}", package).passed
    assert len(copies(package)) == 1 and not list((tmp_path / "state").rglob("*.onnx"))
    write_device(package, 4, "quickstart", tmp_path / "state", read_key(tmp_path / "key"))
    end = time.monotonic() + PATIENCE_S
    while (version := json.load(urlopen(f"http://127.0.0.1:{port}/model/version", timeout=5))["version"]) != 4:
        assert time.monotonic() < end and version == 3
        time.sleep(1)
    server.terminate()
    server.wait(60)
    assert copies(package) == []


def test_what_a_killed_one_left_is_removed_by_the_next(start, package):
    server, _ = start()
    kill(server)
    [left] = copies(package)
    made = (left / "package").stat().st_ino
    server, port = start()
    [copy] = copies(package)
    assert (copy / "package").stat().st_ino != made and smoke(f"http://127.0.0.1:{port}", package).passed
    server.terminate()
    server.wait(60)
    assert copies(package) == []


def test_an_idle_connection_stays_open_as_long_as_a_load_balancer_keeps_it(start):
    _, port = start()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/livez")
    first = connection.getresponse()
    first.read()
    local = connection.sock.getsockname()
    time.sleep(UVICORNS_OWN_S + 3)
    connection.request("GET", "/livez")
    assert connection.getresponse().status == 200 and connection.sock.getsockname() == local, "not connected anew"
