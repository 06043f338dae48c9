"""A training, or a pre-training, recorded while it goes: in MLflow, by the config's loggers, and on the screen."""

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tasks.data.ingest import Dataset
from tasks.loggers import Log, LoggedRun, open_loggers
from tasks.progress import Progress, progress
from tasks.run import Run
from tasks.stages import StageResult
from tasks.tracking import Tracker
from vision.lineage import sha256_json

if TYPE_CHECKING:
    from tasks.cluster.train import FitReport

Stage = Literal["train", "pretrain", "tune"]
NOT_RECORDED = {"cards", "description"}


@dataclass(frozen=True)
class Recording:
    """Takes an epoch's record when called. known: the last epoch that MLflow has of a training which goes on."""

    tracker: Tracker
    run_id: str
    log: Log
    bar: Progress
    known: int

    def __call__(self, record: Mapping[str, Any]) -> None:
        epoch = int(record["epoch"])
        if epoch > self.known:
            self.tracker.log_metrics(self.run_id, numbers(record), step=epoch)
            self.log(numbers(record), epoch)
        shown = ["train_loss", *(name for name in record if name.startswith("val_") and name != "val_loss")]
        note = ", ".join(f"{name} {record[name]:.3f}" for name in shown)
        self.bar(epoch, int(record["epochs"]), f"{record['stage']}, {note}, {record['images_per_s']:.0f} img/s")

    def tag(self, name: str, value: str) -> None:
        self.tracker.client.set_tag(self.run_id, name, value)

    def times(self, report: "FitReport") -> None:
        times = {"train_seconds": report.seconds, "train_cpu_seconds": report.cpu_seconds}
        self.tracker.log_metrics(self.run_id, times)


@contextmanager
def recording(run: Run, stage: Stage, key: str, dataset: Dataset) -> Iterator[Recording]:
    """key: of the stage; a run that a killed process left goes on."""
    tracker = run.tracker()
    run_id = open_stage_run(run, tracker, stage, key, dataset)
    logged = LoggedRun(
        folder=run.folder, system=run.config.system, name=_name(run, stage), id=run_id, params=_params(run)
    )
    with open_loggers(run.config.tracking.loggers, logged) as log, progress(stage, unit="epoch") as bar:
        yield Recording(tracker, run_id, log, bar, tracker.last_epoch(run_id))


def with_known_run(run: Run, dataset: Dataset, model: StageResult) -> StageResult:
    """With a run that this registry has: a stored training's may lie in another, or in one that is gone. Then what is
    stored is recorded anew.
    """
    if not model.reused:
        return model
    tracker = run.tracker()
    run_id = tracker.known_run(model.made["run_id"], model.key)
    if run_id is None:
        run_id = open_stage_run(run, tracker, model.stage, model.key, dataset)
        for record in json.loads((model.folder / "history.json").read_text()):
            tracker.log_metrics(run_id, numbers(record), step=int(record["epoch"]))
        times = {"train_seconds": model.made["seconds"], "train_cpu_seconds": model.made["cpu_seconds"]}
        tracker.log_metrics(run_id, times)
        tracker.client.set_tag(run_id, "recorded_anew", model.made["run_id"])
    return model.model_copy(update={"made": {**model.made, "run_id": run_id}})


def open_stage_run(run: Run, tracker: Tracker, stage: Stage, key: str, dataset: Dataset) -> str:
    config = run.config
    tags = {"reason": run.reason, "system": config.system, "config_sha": run.config_sha, **run.git_tags()}
    if run.window:
        tags["window"] = run.window
    here = tags["state"] = sha256_json([socket.gethostname(), str(run.state.root)])[:16]
    run_id = tracker.open_run(key, _name(run, stage), tags)
    tracker.close_left_runs(run_id, here)
    tracker.log_params(run_id, _params(run))
    tracker.log_dataset(run_id, config.system, run.dataset_folder, dataset.dvc_md5, dataset.files)
    return run_id


def _name(run: Run, stage: Stage) -> str:
    return f"{run.config.model.arch}_{'tun' if stage == 'tune' else stage}ing"


def _params(run: Run) -> dict[str, Any]:
    return flatten(run.config.model_dump(mode="json", exclude=NOT_RECORDED))


def numbers(record: Mapping[str, Any]) -> dict[str, float]:
    return {key: value for key, value in record.items() if isinstance(value, int | float)}


def flatten(value: dict, prefix: str = "") -> dict:
    """Nested dict -> dotted keys; lists as JSON."""
    flat = {}
    for key, item in value.items():
        if isinstance(item, dict):
            flat |= flatten(item, f"{prefix}{key}.")
        else:
            flat[prefix + key] = json.dumps(item) if isinstance(item, list) else item
    return flat
