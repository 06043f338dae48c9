"""The trials of a search as MLflow runs under one parent, and as lines on the screen."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray.tune import Callback

from tasks.tracking import Tracker
from tasks.training.record import numbers
from vision.settings import Section

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

RAYS_OWN = ("time", "timesteps", "iterations", "training_iteration", "pid", "timestamp", "checkpoint", "done")


class Parent(Section):
    """The search's own run, and where it lies. Plain values: Ray keeps them with the experiment."""

    uri: str
    artifacts: Path | None
    system: str
    run_id: str
    stage_key: str
    trials: int
    tags: dict[str, str]


class Trials(Callback):
    """Ray Tune calls it in the driver's process. A trial that goes on after a kill goes on with its run."""

    def __init__(self, parent: Parent) -> None:
        self.parent = parent
        self.ended = 0
        self._tracker: Tracker | None = None
        self._runs: dict[str, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"parent": self.parent, "ended": self.ended, "_tracker": None, "_runs": {}}

    def get_state(self) -> dict[str, Any]:
        return {"ended": self.ended}

    def set_state(self, state: dict[str, Any]) -> None:
        self.ended = state["ended"]

    def on_trial_result(self, iteration: int, trials: list, trial: "Trial", result: dict, **info: Any) -> None:
        told = {key: value for key, value in numbers(result).items() if not key.startswith(RAYS_OWN)}
        self._tracked().log_metrics(self._run(trial), told, step=int(result.get("epoch", 0)))

    def on_trial_complete(self, iteration: int, trials: list, trial: "Trial", **info: Any) -> None:
        self._end(trial, "FINISHED")
        for checkpoint in Path(trial.storage.trial_fs_path).glob("checkpoint_*"):  # nobody goes on from it
            shutil.rmtree(checkpoint, ignore_errors=True)

    def on_trial_error(self, iteration: int, trials: list, trial: "Trial", **info: Any) -> None:
        self._end(trial, "FAILED")

    def _end(self, trial: "Trial", status: str) -> None:
        self.ended += 1
        last = trial.last_result or {}
        score = f"score {last['score']:.3f}, {int(last['epoch'])} epochs" if "score" in last else "no score"
        values = ", ".join(f"{key} {_shown(value)}" for key, value in trial.config.items())
        print(f"  tune {self.ended}/{self.parent.trials} {score}: {values}", flush=True)
        self._tracked().client.set_terminated(self._run(trial), status)

    def _run(self, trial: "Trial") -> str:
        if trial.trial_id not in self._runs:
            tags = {**self.parent.tags, "mlflow.parentRunId": self.parent.run_id, "trial": trial.trial_id}
            key = f"{self.parent.stage_key}-{trial.trial_id}"
            run_id = self._tracked().open_run(key, f"trial_{trial.trial_id.rsplit('_', 1)[-1]}", tags)
            self._tracked().log_params(run_id, trial.config)
            self._runs[trial.trial_id] = run_id
        return self._runs[trial.trial_id]

    def _tracked(self) -> Tracker:
        if self._tracker is None:
            self._tracker = Tracker(self.parent.uri, self.parent.artifacts, self.parent.system)
        return self._tracker


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
