"""One training on Ray Train: 1 to N workers, a checkpoint an epoch, and a killed one goes on where it was.

Whoever calls has started Ray. Everything lies in the stage's folder, which all machines of the cluster must see:
`ray/` (Ray's run, always of the same name, so that the next call after a killed driver finds its checkpoints),
`start.safetensors` and `start.json` (what the first call started from) and `history.ndjson` (one line an epoch). At the
end they give way to `model.safetensors` (the best epoch), `history.json` and, written last, `fit.json`.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from tasks.cluster.resources import Resources, failed, no_room, resources_for, waited_in_vain
from tasks.cluster.session import on_ray
from tasks.cluster.worker import HISTORY, RUN_FOLDER, RUN_NAME, USER_ERROR, WorkerSettings, load_state, work
from tasks.training.start import START, START_REPORT, TrainJob, build_model, load_or_make_start, plan_of
from tasks.training.watch import watched
from vision.errors import UserError
from vision.machine_faults import explained
from vision.models.network import load_model, save_model
from vision.models.weights import WeightsReport
from vision.settings import Section
from vision.training.precision import PrecisionReport

if TYPE_CHECKING:
    from ray.train import Result
    from ray.train.torch import TorchTrainer

FIT = "fit.json"
START_WAIT = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"
KEPT_CHECKPOINTS = 2
KEEP_BYTES = str(4 * 2**30)
WORKER_ENV = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": KEEP_BYTES, "MALLOC_MMAP_THRESHOLD_": KEEP_BYTES}
"""glibc keeps freed memory for the next step. Ray trains in a thread that is not the main one, whose arena would give the
step's large buffers back each time: their page faults cost a fifth of ResNet-18's speed on a CPU.
"""


class FitReport(Section):
    """`fit.json`. headline, score: the metric that chose `best_epoch`, on the validation split.

    seconds: of the call that finished, Ray's start-up included; epoch_seconds and cpu_seconds: of all epochs and
    workers; images_per_s: median over the epochs, the first left out where there are more.
    """

    weights: WeightsReport
    stages: tuple[str, ...]
    epochs: int
    best_epoch: int
    headline: str
    score: float
    precision: PrecisionReport
    resources: Resources
    seconds: float
    epoch_seconds: float
    cpu_seconds: float
    images_per_s: float


def train_on_ray(job: TrainJob, folder: Path, on_epoch: Callable[[dict[str, Any]], None] | None = None) -> FitReport:
    """Trains, or goes on with a training that was killed in the same `folder`, and returns what fit.json holds.

    on_epoch(record) is called for each epoch while it runs, from a thread; after a restart of the driver, from epoch 1.
    Raises `UserError` (weights file, too few cores or images, diverged loss) and `MachineError`: workers died more often
    than `training.max_failures`, no room for them in `training.worker_wait_s`, Ray's head is gone.
    """
    folder = folder.absolute()
    if (folder / FIT).is_file():
        _clear(folder)
        return FitReport.model_validate_json((folder / FIT).read_text())
    start = perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / USER_ERROR).unlink(missing_ok=True)
    resources_for(job.config.training)
    weights = load_or_make_start(job, folder)
    with watched(folder / HISTORY, on_epoch):
        result, resources = _fit(job, folder, weights)
    _raise_user_error(folder)
    state = load_state(_last_checkpoint(result))
    report = _report(job, state, weights, resources, perf_counter() - start)
    _finish(job, folder, state, report)
    return report


def _fit(job: TrainJob, folder: Path, weights: WeightsReport) -> tuple["Result", Resources]:
    """Again with less where the cluster has shrunk for good and the config leaves the cores open."""
    from ray.train import TrainingFailedError

    config = job.config.training
    os.environ[START_WAIT] = str(config.worker_wait_s / (config.max_failures + 1))
    resources = resources_for(config)
    while True:
        trainer = _trainer(WorkerSettings(job, folder, weights, resources.cpus_per_worker), resources)
        try:
            return on_ray(trainer.fit), resources
        except TrainingFailedError as error:
            if not waited_in_vain(error):
                raise (explained(error, folder) or failed(error, config.max_failures)) from error
            fewer = resources_for(config)
            if fewer.cpus_per_worker >= resources.cpus_per_worker:
                raise no_room(resources, config.worker_wait_s) from error
            resources = fewer


def _trainer(settings: WorkerSettings, resources: Resources) -> "TorchTrainer":
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    needs, failures = {"CPU": resources.cpus_per_worker}, settings.job.config.training.max_failures
    if resources.gpus_per_worker:
        needs["GPU"] = resources.gpus_per_worker
    return TorchTrainer(
        _work,
        train_loop_config={"settings": settings},
        torch_config=TorchConfig(backend="nccl" if resources.gpus_per_worker else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=resources.workers, use_gpu=resources.gpus_per_worker > 0, resources_per_worker=needs
        ),
        run_config=RunConfig(
            name=RUN_NAME,
            worker_runtime_env={"env_vars": WORKER_ENV},
            storage_path=str(settings.folder / RUN_FOLDER),
            # The second limit is on starts that found no room: Ray would try for ever.
            failure_config=FailureConfig(max_failures=failures, controller_failure_limit=failures),
            checkpoint_config=CheckpointConfig(num_to_keep=KEPT_CHECKPOINTS),
        ),
    )


def _work(config: dict[str, WorkerSettings]) -> None:
    work(config["settings"])


def _raise_user_error(folder: Path) -> None:
    if (folder / USER_ERROR).is_file():
        raise UserError(*json.loads((folder / USER_ERROR).read_text()))


def _last_checkpoint(result: "Result") -> Any:
    if result.checkpoint is None:
        raise RuntimeError(f"Ray Train ended without a checkpoint: {result.error}")
    return result.checkpoint


def _report(
    job: TrainJob, state: dict[str, Any], weights: WeightsReport, resources: Resources, seconds: float
) -> FitReport:
    plan, history = plan_of(job, weights), state["history"]
    speeds = sorted(record["images_per_s"] for record in history[1:] or history)
    return FitReport(
        weights=weights,
        stages=tuple(stage.name for stage in plan.stages),
        epochs=len(history),
        best_epoch=state["position"]["best_epoch"],
        headline=plan.learning.headline,
        score=state["position"]["best_score"],
        precision=PrecisionReport.model_validate(state["precision"]),
        resources=resources,
        seconds=seconds,
        epoch_seconds=sum(record["seconds"] for record in history),
        cpu_seconds=sum(record["cpu_seconds"] for record in history),
        images_per_s=speeds[len(speeds) // 2],
    )


def _finish(job: TrainJob, folder: Path, state: dict[str, Any], report: FitReport) -> None:
    """Writes what stays, fit.json last."""
    model = load_model(build_model(job), folder / START)
    model.network.load_state_dict(state["best"])
    save_model(model, folder / "model.safetensors")
    (folder / "history.json").write_text(json.dumps(state["history"], indent=1))
    partial = folder / f".{FIT}.partial"
    partial.write_text(report.model_dump_json(indent=1))
    partial.replace(folder / FIT)
    _clear(folder)


def _clear(folder: Path) -> None:
    """Removes what only a resumption needs. A kill may fall between fit.json and this."""
    shutil.rmtree(folder / RUN_FOLDER, ignore_errors=True)
    for name in (START, START_REPORT, HISTORY):
        (folder / name).unlink(missing_ok=True)
