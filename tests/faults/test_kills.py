"""SIGKILL of the flow inside each stage and between any two: the next start ends in one registered version."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from killed_flow import INSIDE, STAGES, between

from flows.command import DONE, FAULT
from tasks.audit import read_audit
from tasks.data.datasets import git
from tasks.tracking import CHALLENGER, CHAMPION, Tracker, alias_version
from vision.package import open_package
from vision.release import read_release

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server", "ray")]
ROOT = Path(__file__).resolve().parents[2]
LAUNCHER = Path(__file__).with_name("killed_flow.py")
EPOCHS = 5
TRAINING = [{"name": "all", "epochs": EPOCHS, "trainable": "all", "lr": 1.0e-3}]
GONE_S = 30


@pytest.fixture
def system(tiny):
    training = yaml.safe_load(Path(tiny()).read_text())["training"]
    return tiny(training={**training, "stages": TRAINING, "stages_from_scratch": TRAINING, "early_stop_epochs": None})


@pytest.fixture(scope="module")
def launch(ray, prefect_server):
    """(state folder, system, points): killed at each point in turn, then let through. Point -> the launcher's answer."""
    from prefect.settings import PREFECT_API_URL

    shared = {
        "RAY_ADDRESS": ray.get_runtime_context().gcs_address,
        "RAY_AUTH_MODE": "token",
        "PREFECT_API_URL": PREFECT_API_URL.value(),
    }

    def run(state, system, points):
        log = state.with_suffix(".log")
        command = [sys.executable, LAUNCHER, system, log, *points]
        done = subprocess.run(command, env=environment(state, **shared), capture_output=True, text=True, check=False)
        starts = [json.loads(line) for line in done.stdout.splitlines()]
        told = f"{starts}\n{done.stderr[-3000:]}\n{log.read_text()[-5000:]}"
        assert [start["ended"] for start in starts] == ["SIGKILL"] * len(points) + [DONE], told
        return {start["point"]: start for start in starts}

    return run


def environment(state, **more):
    """This process's, as a user would have it whose state folder is `state`."""
    left_out = ("VISIONOPS", "_VISIONOPS", "RAY_", "PREFECT_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    own = {"VISIONOPS_STATE": str(state), "BENTOML_HOME": str(state / "bentoml"), "PYTHONPATH": str(ROOT)}
    return {**clean, **own, "PREFECT_SERVER_ANALYTICS_ENABLED": "false", **more}


@pytest.fixture(scope="module")
def unbroken(launch, tmp_path_factory):
    """The state folder of a run that nobody killed; made by the first test that asks."""
    state = tmp_path_factory.mktemp("unbroken") / "state"

    def made(system):
        if not state.exists():
            launch(state, system, [])
        return state

    return made


def weights(state):
    (path,) = state.glob("systems/tiny/stages/train/*/model.safetensors")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def assert_one_of_everything(state):
    """One version with its alias, release, audit row, package, bento and MLflow run; nothing half-made beside them."""
    tracker = Tracker(f"sqlite:///{state / 'mlflow.db'}", state / "mlartifacts", "tiny")
    assert [v.version for v in tracker.client.search_model_versions("name = 'tiny'")] == [1]
    champion, folder = alias_version(tracker, CHAMPION), state / "systems" / "tiny"
    assert champion.version == 1 and alias_version(tracker, CHALLENGER) is None
    release = read_release(folder / "release.json")
    assert (release.no, release.champion.package_sha) == (0, champion.package_sha)
    rows = read_audit(f"sqlite:///{state / 'state.db'}", "tiny")
    assert [(row["what"], row["package_sha"]) for row in rows] == [("alias:champion", champion.package_sha)]
    assert [path.name for path in (folder / "packages").iterdir()] == [champion.package_sha]
    open_package(folder / "packages" / champion.package_sha, champion.package_sha)
    assert [path.name for path in (state / "bentoml/bentos/visionops_tiny").iterdir() if path.is_dir()] == ["v1"]
    assert_one_finished_run(tracker, champion.run_id)
    assert_nothing_half_made(state)


def assert_one_finished_run(tracker, run_id):
    runs = tracker.client.search_runs([tracker.experiment_id()])
    assert [(run.info.run_id, run.info.status, run.info.run_name) for run in runs] == [
        (run_id, "FINISHED", "mobilenet_v3_small_v1")
    ]
    assert [point.step for point in tracker.client.get_metric_history(run_id, "train_loss")] == list(
        range(1, EPOCHS + 1)
    )


def assert_nothing_half_made(state):
    stages = [path for path in state.glob("systems/tiny/stages/*/*") if path.is_dir()]
    assert stages and all((path / "stage.json").is_file() for path in stages)
    assert len(stages) == len({path.parent.name for path in stages}), "a stage was made twice, from other inputs"
    left = [path for name in ("*.partial*", "*.parts", "*.staging") for path in state.rglob(name)]
    assert not left and not [path for path in (state / "bentoml" / "building").iterdir() if path.is_dir()]
    assert not list(state.glob("systems/tiny/stages/train/*/ray"))
    repo = state / "datasets"
    assert git(repo, "status", "--porcelain") == "" and git(repo, "rev-list", "--count", "HEAD") == "1"


def started_for(state):
    """Processes that carry this state folder in their environment: the flow's, and whatever it started."""
    found = []
    for process in psutil.process_iter():
        try:
            own = process.environ().get("VISIONOPS_STATE", "").startswith(str(state))
            if own and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def wait_until(true, seconds):
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.2)
    return true()


def train_workers():
    """Ray Train's workers of this module's Ray, which all starts share."""
    children = psutil.Process().children(recursive=True)
    return [p for p in children if p.is_running() and "TrainWorker" in " ".join(p.cmdline())]


GOES_ON = "nothing; the next start goes on with the stages that are whole"


def test_killed_inside_each_stage_it_ends_in_one_version(launch, system, unbroken, tmp_path, fault):
    state = tmp_path / "state"
    starts = launch(state, system, list(INSIDE))
    assert_one_of_everything(state)
    # In mid-epoch too, where a metric within seed noise would do: what an epoch does depends on seed and epoch alone.
    assert weights(state) == weights(unbroken(system))
    # The clock of an epoch is never the same twice: the first ones are those of before the kill.
    (history,) = state.glob("systems/tiny/stages/train/*/history.json")
    epochs = [record["seconds"] for record in json.loads(history.read_text())]
    killed = starts["train: in mid-epoch"]["epochs"]
    assert 2 <= len(killed) < EPOCHS and epochs[0] == killed[0]
    assert wait_until(lambda: not started_for(state) and not train_workers(), GONE_S)
    for point in INSIDE:
        fault.saw(
            "Kills", f"SIGKILL in {point}", exit="–", says=GOES_ON,
            kept="the same, and nothing half-made beside it" + ("; from its last checkpoint" if "epoch" in point else ""),
        )  # fmt: skip


@pytest.mark.system  # minutes; where a kill leaves nothing half-made, and so the weaker half of the two
def test_killed_between_any_two_stages_it_ends_in_one_version(launch, system, unbroken, tmp_path, fault):
    state = tmp_path / "state"
    launch(state, system, between())
    assert_one_of_everything(state)
    assert weights(state) == weights(unbroken(system))
    fault.saw(
        "Kills", f"SIGKILL of the flow before each of its {len(STAGES)} stages, and after the last", exit="–", says=GOES_ON,
        kept="one version, alias, release, audit row, package, bento and MLflow run; the weights of an unbroken run",
    )  # fmt: skip


@pytest.fixture(scope="module")
def prefect_home(tmp_path_factory):
    return tmp_path_factory.mktemp("prefect")


def run_until_served(state, system, prefect_home):
    """The command as a user has it, with its own Ray and Prefect, up to where its bento answers. Returns the process."""
    for stage in ("cache", "smoke"):
        shutil.rmtree(state / "systems" / "tiny" / "stages" / stage)
    more = {"PREFECT_HOME": str(prefect_home), "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120"}
    command = [sys.executable, "-m", "flows.train_model", "--system", system]
    flow = subprocess.Popen(
        command, cwd=ROOT, env=environment(state, **more), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip

    def served():
        logs = state.glob("systems/tiny/stages/smoke/*/server.log")
        return flow.poll() is not None or any("Starting production" in log.read_text() for log in logs)

    assert wait_until(served, 180)
    assert flow.poll() is None, flow.communicate()[1]
    return flow


@pytest.mark.parametrize(
    ("number", "code", "given"),
    [
        (signal.SIGKILL, -signal.SIGKILL, "SIGKILL of a flow with its own Ray, Prefect server and model server"),
        # Prefect and the command take both alike; one of them is enough for every push.
        pytest.param(signal.SIGTERM, FAULT, "SIGTERM in the middle of a flow", marks=pytest.mark.system),
        (signal.SIGINT, FAULT, "Ctrl-C in the middle of a flow"),
    ],
)
def test_whatever_ends_a_flow_no_process_of_it_stays(number, code, given, system, unbroken, prefect_home, fault):
    state = unbroken(system)
    flow = run_until_served(state, system, prefect_home)
    names = " ".join(" ".join(process.cmdline()) for process in started_for(state) if process.is_running())
    assert all(part in names for part in ("raylet", "bentoml", "prefect.server"))
    if number == signal.SIGINT:  # a terminal sends it to all that was started from it
        os.killpg(flow.pid, number)
    else:
        flow.send_signal(number)
    _, err = flow.communicate(timeout=60)
    assert flow.returncode == code and "Traceback" not in err
    assert wait_until(lambda: not started_for(state), GONE_S), [process.cmdline() for process in started_for(state)]
    says = "nothing can be said" if code != FAULT else re.search(r"^error: (.*)", err, re.M).group(1)
    fault.saw(
        "Kills", given, exit="–" if code != FAULT else code, says=says,
        kept="finished stages; no process of it stays: no Ray, no Prefect server, no model server",
    )  # fmt: skip
