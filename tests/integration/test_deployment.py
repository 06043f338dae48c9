"""The tiny system through a real Prefect server and a process worker, as `prefect deployment run` starts it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml

from configs.retraining import RetrainingConfig
from tasks.monitoring.governor import Governor
from tasks.stack.prefect import deployments_of, renamed
from tests.drawn_records import serve_drifted
from vision.errors import UserError

ROOT = Path(__file__).parents[2]
PREFECT = (sys.executable, "-m", "prefect")
START_S, RUN_S = 240, 480


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def process(command, env, log):
    """A child in a group of its own, stopped by its process id."""
    with log.open("wb") as output:
        child = subprocess.Popen(command, cwd=ROOT, env=env, stdout=output, stderr=output, start_new_session=True)
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def wait_for(url):
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health", timeout=2, trust_env=False).status_code == 200:
                return
        time.sleep(0.5)
    raise TimeoutError(url)


def prefect(env, *words, timeout=120):
    done = subprocess.run([*PREFECT, *words], cwd=ROOT, env=env, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, f"prefect {' '.join(words)}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_every_deployment_names_a_system_that_loads():
    from configs.load import load_system

    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert {d["name"] for d in deployments} >= {"quickstart", "tomato_leaf"}
    for deployment in deployments:
        assert load_system(deployment["parameters"]["system"]).system == deployment["name"]


def test_every_system_is_deployed_as_quickstart_is():
    """So one of them on a real server speaks for all."""
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    usual = {d["entrypoint"]: d for d in deployments if d["name"] == "quickstart"}
    for deployment in deployments:
        known = usual.get(deployment["entrypoint"], deployment)
        assert renamed(known, deployment["parameters"]["system"], deployment["name"]) == deployment
    for name in {deployment["name"] for deployment in deployments}:
        assert usual.keys() <= {deployment["entrypoint"] for deployment in deployments if deployment["name"] == name}


def test_a_system_that_somebody_added_has_the_usual_deployments(tiny):
    known, own = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"], tiny()
    made = deployments_of(own, known)
    usual = deployments_of("quickstart", known)
    assert [each["entrypoint"] for each in made] == [each["entrypoint"] for each in usual] != []
    assert {(each["name"], each["parameters"]["system"]) for each in made} == {("tiny", own)}
    assert "quickstart" not in json.dumps(made) and "visionops.system.tiny" in json.dumps(made)
    with pytest.raises(UserError, match="no_such"):
        deployments_of("no_such", known)


def tiny_deployments(system_file, folder):
    """prefect.yaml with one deployment of each flow, of the system `tiny` and on no schedule."""
    given = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    first = {d["entrypoint"]: d for d in reversed(given["deployments"])}
    given["deployments"] = [renamed(d | {"schedules": []}, str(system_file), "tiny") for d in first.values()]
    path = folder / "prefect.yaml"
    path.write_text(yaml.safe_dump(given))
    return path


def flow_runs(api, flow):
    asked = {"flows": {"name": {"any_": [flow]}}}
    return httpx.post(f"{api}/flow_runs/filter", json=asked, trust_env=False, timeout=60).json()


def wait_until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(1)
    return condition()


MONITOR = {
    "min_window": 60,
    "permutations": 199,
    "alpha": 0.01,
    "null_windows": 20,
    "alarm_windows": 1,
    "of_windows": 1,
}


@pytest.mark.slow
def test_a_deployment_trains_and_an_alarm_of_the_monitor_starts_one_training_more(tmp_path, tiny):
    state, port = tmp_path / "state", free_port()
    api = f"http://127.0.0.1:{port}/api"
    env = {name: value for name, value in os.environ.items() if not name.startswith(("VISIONOPS", "PREFECT"))}
    env |= {
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": api,
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "VISIONOPS_STATE": str(state),
    }
    server = [*PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    worker = [*PREFECT, "worker", "start", "--pool", "local", "--type", "process"]
    with process(server, env, tmp_path / "server.log"):
        wait_for(api)
        prefect(env, "work-pool", "create", "--type", "process", "local")
        prefect(
            env,
            "--no-prompt",
            "deploy",
            "--all",
            "--prefect-file",
            str(tiny_deployments(tiny(monitor=MONITOR), tmp_path)),
        )
        with process(worker, env, tmp_path / "worker.log"):
            prefect(env, "deployment", "run", "train-model/tiny", "-p", "reason=test", "--watch", timeout=RUN_S)
            release = json.loads((state / "systems" / "tiny" / "release.json").read_text())
            assert release["champion"]["version"] == 1
            serve_drifted(state / "systems" / "tiny", copies=3)
            prefect(env, "deployment", "run", "monitor-drift/tiny", "--watch", timeout=RUN_S)
            assert wait_until(lambda: len(flow_runs(api, "train-model")) == 2, START_S), (
                tmp_path / "worker.log"
            ).read_text()
            ended = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
            wait_until(lambda: {run["state_type"] for run in flow_runs(api, "train-model")} <= ended, RUN_S)
            runs = flow_runs(api, "train-model")
            artifacts = httpx.post(f"{api}/artifacts/latest/filter", json={}, trust_env=False, timeout=60).json()
    assert [run["state_type"] for run in runs] == ["COMPLETED"] * 2
    [started] = [run["parameters"] for run in runs if run["parameters"]["reason"] != "test"]
    assert started["window"].startswith("window-1-") and "in window 1: no new labels" in started["reason"]
    requests = Governor(f"sqlite:///{state / 'state.db'}", "tiny", RetrainingConfig()).requests()
    assert [(request.window, request.automatic, request.state) for request in requests] == [
        (None, False, "ended"),
        (started["window"], True, "ended"),
    ]
    report = next(item for item in artifacts if item["key"] == "report-tiny")
    assert "macro" in report["data"] and "Tiny drawn leaves" in report["data"]
    assert {"progress-train", "monitor-tiny"} <= {item["key"] for item in artifacts}
