import subprocess
import sys
from pathlib import Path

import pytest

from tasks.tracking import CHAMPION, Tracker, alias_version, find_version, register_version

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def tracker(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    return Tracker(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts", "leaf")


@pytest.mark.slow
def test_processes_that_meet_an_empty_registry_at_once_all_get_it(tmp_path):
    words = "sys.argv[1], pathlib.Path(sys.argv[2]), 'leaf'"
    code = f"import pathlib, sys; from tasks.tracking import Tracker; Tracker({words}).client.search_experiments()"
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path / 'mlflow.db'}", str(tmp_path)]
    children = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [(child.communicate(timeout=120)[1][-300:], child.returncode) for child in children] == [("", 0)] * 2


@pytest.mark.slow
def test_one_package_is_one_version(tracker):
    run_id = tracker.open_run("key-1", "resnet18", {})
    first = register_version(tracker, run_id, "a" * 64, {"semver": "0.1.0"})
    again = register_version(tracker, run_id, "a" * 64, {"semver": "0.1.0"})
    assert first.fresh and not again.fresh and again.version == first.version
    assert find_version(tracker, "b" * 64) is None


@pytest.mark.slow
def test_a_run_that_a_killed_process_left_is_taken_up_again(tracker):
    left = tracker.open_run("key-2", "resnet18", {})
    assert tracker.open_run("key-2", "resnet18", {}) == left
    tracker.close_run(left)
    assert tracker.open_run("key-2", "resnet18", {}) != left


@pytest.mark.slow
def test_no_alias_before_the_first_model(tmp_path):
    fresh = Tracker(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path, "empty")
    assert alias_version(fresh, CHAMPION) is None


@pytest.mark.slow
def test_the_data_version_is_read_back_from_the_run(tracker, tmp_path):
    run_id = tracker.open_run("key-3", "resnet18", {"reason": "manual"})
    tracker.log_dataset(run_id, "leaf", tmp_path, "0123456789abcdef.dir", rows=7)
    tracker.log_metrics(run_id, {"accuracy": 0.9, "undefined": float("nan")}, step=2)
    found = tracker.client.get_run(run_id)
    data = found.inputs.dataset_inputs[0]
    assert data.dataset.digest == "01234567"
    assert {tag.key: tag.value for tag in data.tags}["dvc.md5"] == "0123456789abcdef.dir"
    assert found.data.metrics == {"accuracy": 0.9}


@pytest.mark.slow
def test_a_run_that_goes_on_with_another_gate_keeps_its_first_parameters(tracker):
    run_id = tracker.open_run("key-4", "resnet18", {})
    tracker.log_params(run_id, {"gate.accuracy": 0.9, "training.lr": 1e-3})
    tracker.log_params(run_id, {"gate.accuracy": 0.8, "training.lr": 1e-3, "training.seed": 1})
    found = tracker.client.get_run(run_id).data.params
    assert found == {"gate.accuracy": "0.9", "training.lr": "0.001", "training.seed": "1"}


@pytest.mark.slow
def test_a_run_that_was_closed_keeps_its_end(tracker):
    run_id = tracker.open_run("key-5", "resnet18", {})
    tracker.close_run(run_id)
    ended = tracker.client.get_run(run_id).info.end_time
    tracker.close_run(run_id)
    assert tracker.client.get_run(run_id).info.end_time == ended
