"""`make up` for real: Prefect with a worker that runs a deployment, MLflow, the service, Prometheus, and their end."""

import importlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from tasks.packaging.smoke import smoke
from tasks.stack.host import known
from tasks.stack.services import PORTS

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE_S = 120
pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def state(tmp_path_factory) -> Path:
    """With a champion to serve."""
    own = importlib.import_module("tests.serving.conftest")
    folder = tmp_path_factory.mktemp("stack") / "state"
    shutil.copytree(own.released(tmp_path_factory.getbasetemp()), folder)
    return folder


@pytest.fixture(scope="module")
def package(state, tmp_path_factory):
    return importlib.import_module("tests.serving.conftest").make_package(tmp_path_factory.getbasetemp()).package


def command(state: Path, *words: str) -> subprocess.CompletedProcess:
    env = {**os.environ, "VISIONOPS_STATE": str(state)}
    return subprocess.run(
        (sys.executable, "-m", "flows.run_stack", *words),
        cwd=PROJECT,
        env=env,
        capture_output=True,
        text=True,
        timeout=400,
    )


@pytest.fixture(scope="module")
def running(state):
    began = time.monotonic()
    done = command(state, "up", "--ports", *(f"{name}=0" for name in PORTS))
    assert done.returncode == 0, done.stdout + done.stderr
    print(f"\nup in {time.monotonic() - began:.0f} s\n{done.stdout}")
    yield known(state / "stack")
    command(state, "down")


def get(url: str, **params) -> dict:
    return httpx.get(url, params=params, timeout=30, trust_env=False).raise_for_status().json()


def until(found, what: str):
    end = time.monotonic() + PATIENCE_S
    while not (value := found()):
        assert time.monotonic() < end, what
        time.sleep(0.5)
    return value


def test_the_service_answers_and_prometheus_sees_it(running, package):
    assert set(running) == set(PORTS) - ({"prometheus"} if shutil.which("prometheus") is None else set())
    assert smoke(running["service"].url, package).passed
    if "prometheus" in running:
        query = f"{running['prometheus'].url}/api/v1/query"
        until(lambda: get(query, query='up{service="quickstart"} == 1')["data"]["result"], "the target is up")
        assert get(f"{running['prometheus'].url}/api/v1/rules")["data"]["groups"]


def test_the_worker_takes_a_deployment_of_the_system_and_ends_it(running, state):
    """`release-model` has nothing to do here, and says so."""
    api = f"{running['prefect'].url}/api"
    with httpx.Client(base_url=api, timeout=60, trust_env=False) as client:
        names = {one["name"] for one in client.post("/deployments/filter", json={}).json()}
        assert names == {"quickstart"}
        known_as = client.get("/deployments/name/release-model/quickstart").raise_for_status().json()
        assert any(schedule["active"] for schedule in known_as["schedules"])
        made = client.post(f"/deployments/{known_as['id']}/create_flow_run", json={}).raise_for_status().json()
        final = {"COMPLETED", "FAILED", "CRASHED"}
        run = until(
            lambda: (one := client.get(f"/flow_runs/{made['id']}").json())["state"]["type"] in final and one, "its end"
        )
    assert run["state"]["type"] != "CRASHED", run["state"]


def test_mlflow_shows_the_registry_that_flows_write_to(running, state):
    assert (state / "mlflow.db").is_file()
    answer = get(f"{running['mlflow'].url}/api/2.0/mlflow/registered-models/search")
    assert isinstance(answer.get("registered_models", []), list)


def test_a_second_up_changes_nothing_and_status_says_so(running, state):
    assert command(state, "up").returncode == 0
    assert {name: one.pid for name, one in known(state / "stack").items()} == {k: v.pid for k, v in running.items()}
    table = command(state, "status").stdout
    assert table.count(" up ") == len(running), table


def test_down_ends_every_process_that_up_started(running, state):
    """Runs last."""
    before = {one.pid for one in running.values()}
    before |= {child.pid for pid in before for child in psutil.Process(pid).children(recursive=True)}
    done = command(state, "down")
    assert done.returncode == 0, done.stderr
    until(lambda: not any(psutil.pid_exists(pid) for pid in before), "all are gone")
    assert known(state / "stack") == {}
