"""What each of Ray Train's workers does. Rank 0 alone writes: a checkpoint and a line of history after each epoch."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tasks.cluster.resources import threads_for
from tasks.training.start import START, TrainJob, build_model, loaders_of, plan_of
from vision.errors import UserError
from vision.models.network import load_model
from vision.models.weights import WeightsReport
from vision.training.loop import fit
from vision.training.seeds import set_seed
from vision.training.team import current_team

RUN_FOLDER = "ray"
RUN_NAME = "fit"
STATE = "state.pt"
HISTORY = "history.ndjson"
USER_ERROR = "user_error.json"


@dataclass(frozen=True)
class WorkerSettings:
    """folder: the stage's. weights: what start.safetensors holds. threads: of torch in each worker, at most."""

    job: TrainJob
    folder: Path
    weights: WeightsReport
    threads: int


def work(settings: WorkerSettings) -> None:
    """Trains from start.safetensors, or from Ray's last checkpoint when there is one.

    A `UserError` is written to user_error.json and ends the run quietly: Ray would only try the same again.
    """
    from ray.train.torch import get_device

    torch.set_num_threads(threads_for(settings.threads))
    set_seed(settings.job.config.training.seed)
    team, state = current_team(), last_state()
    model = load_model(build_model(settings.job), settings.folder / START).to(get_device())
    if team.rank == 0:
        _write_history(settings.folder, state["history"] if state else [])

    def on_epoch(record: dict[str, Any], state: dict[str, Any]) -> None:
        report_epoch(settings.folder, record, state, team.rank)

    try:
        fit(model, loaders_of(settings.job), plan_of(settings.job, settings.weights), on_epoch, state, team)
    except UserError as error:
        if team.rank == 0:
            content = json.dumps([error.got, error.allowed, error.do])
            _replace(settings.folder / USER_ERROR, lambda partial: partial.write_text(content))


def last_state() -> dict[str, Any] | None:
    """The state in the last checkpoint that Ray committed; None at a first start."""
    import ray.train

    checkpoint = ray.train.get_checkpoint()
    return load_state(checkpoint) if checkpoint else None


def load_state(checkpoint: Any) -> dict[str, Any]:
    """Reads tensors and plain values only, onto the CPU."""
    with checkpoint.as_directory() as folder:
        return torch.load(Path(folder) / STATE, map_location="cpu", weights_only=True)


def report_epoch(folder: Path, record: dict[str, Any], state: dict[str, Any], rank: int) -> None:
    """Tells Ray that an epoch is done. Rank 0 writes the checkpoint to where Ray keeps it, which saves a copy.

    A folder that a killed run left half-written is not a checkpoint until it is reported, and is written over.
    """
    import ray.train
    from ray.train import Checkpoint, CheckpointUploadMode

    if rank != 0:
        ray.train.report({"epoch": record["epoch"]})
        return
    name = f"checkpoint_epoch_{record['epoch']:04d}"
    target = folder / RUN_FOLDER / RUN_NAME / name
    target.mkdir(parents=True, exist_ok=True)
    _replace(target / STATE, lambda partial: torch.save(state, partial))
    ray.train.report(
        {"epoch": record["epoch"]},
        checkpoint=Checkpoint.from_directory(target),
        checkpoint_dir_name=name,
        checkpoint_upload_mode=CheckpointUploadMode.NO_UPLOAD,
    )
    _write_history(folder, state["history"])


def _write_history(folder: Path, records: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(record) + "\n" for record in records)
    _replace(folder / HISTORY, lambda partial: partial.write_text(text))


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    write(partial)
    partial.replace(path)
