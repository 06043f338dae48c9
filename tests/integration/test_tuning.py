"""A search on a real Ray Tune, killed with all that belongs to it, and gone on with."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.run import open_run
from tasks.training.trained import _tuning
from tasks.training.tune import _with_values
from tests.integration.killed_search import search
from vision.package import InputSpec

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shared_state", "ray")]
ROOT = Path(__file__).parents[2]
TRIALS, EPOCHS = 4, 3
SPACE = {
    "lr_scale": {"type": "log_float", "low": 0.01, "high": 3.0},
    "training.batch_size": {"type": "choice", "values": [8, 16]},
}
TUNING = {"space": SPACE, "trials": TRIALS, "grace_epochs": 1, "max_epochs": EPOCHS}
TUNING["search"] = "optuna" if find_spec("optuna") else "random"


@pytest.fixture
def cache(tmp_path):
    """64 training and 16 validation images of 36 px, dark or light."""
    folder = tmp_path / "cache"
    folder.mkdir()
    labels = np.array(("dark", "light"))[np.arange(80) % 2]
    images = np.random.default_rng(0).integers(0, 120, (80, 36, 36, 3))
    images += np.where(labels == "light", 100, 0)[:, None, None, None]
    np.save(folder / "images.npy", images.astype(np.uint8))
    rows = pd.DataFrame({"label": labels, "family": np.arange(80), "split": ["train"] * 64 + ["val"] * 16})
    rows.to_parquet(folder / "rows.parquet")
    (folder / "input.json").write_text(InputSpec(side_px=32, resize_px=36).model_dump_json())
    return folder


@pytest.fixture
def system(tiny):
    stages = [{"name": "all", "epochs": 6, "trainable": "all", "lr": 1.0e-3}]
    training = {"batch_size": 16, "precision": "float32", "stages": stages, "stages_from_scratch": stages}
    return tiny(training=training, tuning=TUNING)


def kill_after(ended, *words):
    """Runs the stage in a process of its own until so many trials have ended and Ray has noted it; SIGKILL."""
    command = [sys.executable, "-m", "tests.integration.killed_search", *map(str, words)]
    env = {**os.environ, "TUNE_GLOBAL_CHECKPOINT_S": "0.2", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        said = []
        for line in child.stdout:
            said.append(line)
            if f"tune {ended}/{TRIALS}" in line:
                time.sleep(1)
                break
        os.killpg(child.pid, signal.SIGKILL)
        assert child.wait(30) == -signal.SIGKILL, "".join(said)


def trials_of(tracked):
    runs = tracked.client.search_runs([tracked.experiment_id()], "tags.trial != ''")
    return {run.data.tags["trial"].rsplit("_", 1)[-1]: run for run in runs}


def test_a_search_that_was_killed_keeps_its_finished_trials_goes_on_and_hands_over_the_best(system, cache):
    kill_after(1, system, cache)
    tracked = open_run(system, {}).tracker()
    ended = {name: one for name, one in trials_of(tracked).items() if one.info.status == "FINISHED"}
    assert 1 <= len(ended) < TRIALS
    run, found = search(system, cache)
    best = found.made["best"]
    trials = json.loads((found.folder / "trials.json").read_text())
    assert [trial["number"] for trial in trials] == list(range(TRIALS)) and best == max(
        trials, key=lambda t: t["score"]
    )
    assert trials[0]["values"] == {"lr_scale": 1.0, "training.batch_size": 16}
    assert all(0.01 <= trial["values"]["lr_scale"] <= 3 for trial in trials)
    assert all(1 <= trial["epochs"] <= trial["planned"] == EPOCHS and trial["cpu_seconds"] > 0 for trial in trials)
    assert {path.name for path in found.folder.iterdir()} == {"trials.json", "trials.csv", "trials.png", "stage.json"}

    runs = trials_of(tracked)
    assert len(runs) == TRIALS and {one.info.status for one in runs.values()} == {"FINISHED"}
    assert {one.data.tags["mlflow.parentRunId"] for one in runs.values()} == {found.made["run_id"]}
    parent = tracked.client.get_run(found.made["run_id"])
    assert parent.info.status == "FINISHED" and parent.data.metrics["best_score"] == best["score"]
    epochs = {str(trial["values"]["lr_scale"]): trial["epochs"] for trial in trials}
    for name, before in ended.items():  # it was not trained again
        after = runs[name]
        assert (after.info.run_id, after.info.end_time) == (before.info.run_id, before.info.end_time)
        assert (
            len(tracked.client.get_metric_history(after.info.run_id, "score")) == epochs[after.data.params["lr_scale"]]
        )

    tuned = _with_values(run, found.key, best["values"], tuple(found.made["parts"]))
    (stage,) = tuned.config.training.stages_from_scratch
    assert (stage.epochs, stage.lr) == (6, pytest.approx(1e-3 * best["values"]["lr_scale"]))
    assert tuned.config.training.batch_size == best["values"]["training.batch_size"]
    assert (tuned.config_sha == run.config_sha) == (best["number"] == 0)
    assert _tuning(tuned) == {"tuning": {"stage": found.key, "values": best["values"]}} and _tuning(run) == {}
