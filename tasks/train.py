"""Training on Ray, recorded in MLflow as it goes."""

import json
import socket
from typing import TYPE_CHECKING

from tasks.ingest import Dataset
from tasks.progress import Progress, progress
from tasks.ray_session import ensure_ray
from tasks.run import Run
from tasks.stage_task import stage_task
from tasks.stages import StagePlan, StageResult, run_stage
from tasks.tracking import Tracker
from tasks.warm_start import champion_start
from vision.errors import UserError
from vision.lineage import sha256_json
from vision.package import sha256_file

if TYPE_CHECKING:
    from tasks.training_start import ChampionStart

# What makes the weights. The adapters (tasks/ray_*.py) are left out: they carry, they don't compute.
SOURCE = (
    "vision.training.loop",
    "vision.training.stages",
    "vision.training.statistics",
    "vision.models.factory",
    "vision.models.weights",
)

PATIENCE = {"max_failures", "worker_wait_s"}
"""Changes no weights: who raises one after a failure goes on from the last checkpoint."""


@stage_task("train", tags=["training"])
def train(run: Run, dataset: Dataset, cache: StageResult) -> StageResult:
    """`model.safetensors` (best epoch by the headline), `history.json`, `fit.json`; `made["run_id"]`: MLflow's run."""
    champion = champion_start(run, dataset)
    plan = train_plan(run, dataset, cache, champion)

    def work(folder):
        from tasks.ray_train import TrainJob, train_on_ray

        _refuse_small_split(run, cache)
        tracker = run.tracker()
        run_id = _open_run(run, tracker, plan.key, dataset)
        if champion is not None:
            print(f"going on from the champion, version {champion.version}", flush=True)
        job = TrainJob(
            config=run.config,
            labels=dataset.labels,
            cache=cache.folder,
            weights_root=run.weights_root,
            champion=champion,
        )
        ensure_ray(run.ray_address)
        with progress("train", unit="epoch") as bar:
            known = tracker.last_epoch(run_id)
            report = train_on_ray(job, folder, lambda record: _record(tracker, run_id, record, bar, known))
        tracker.log_metrics(run_id, {"train_seconds": report.seconds, "train_cpu_seconds": report.cpu_seconds})
        return {"run_id": run_id, **report.model_dump(mode="json")}

    return _recorded(run, dataset, run_stage(run.stages, plan, work))


def train_plan(run: Run, dataset: Dataset, cache: StageResult, champion: "ChampionStart | None" = None) -> StagePlan:
    kind = run.config.kind
    return StagePlan(
        stage="train",
        section={
            "kind": kind,
            "model": run.config.model.model_dump(mode="json"),
            "training": run.config.training.model_dump(mode="json", exclude=PATIENCE),
        },
        inputs={"cache": cache.key, "labels": list(dataset.labels), "weights": _weights_sha(run, champion)},
        roots=(*SOURCE, f"vision.kinds.{kind}", f"vision.kinds.{kind}_learning"),
        resumable=True,
    )


def _refuse_small_split(run: Run, cache: StageResult) -> None:
    """A batch that no step can fill is a mistake: all images a step, and a rate that was chosen for more of them."""
    from vision.data.cache import ImageCache

    images, asked = len(ImageCache.open(cache.folder).indices("train")), run.config.training.batch_size
    if asked > images:
        raise UserError(
            f"training.batch_size = {asked}, but the training split has {images} images",
            f"at most {images}",
            "lower training.batch_size, add images, or give `data.split.train` a larger share",
        )


def _weights_sha(run: Run, champion: "ChampionStart | None") -> str | None:
    """sha256 of the file that training would start from: a file that turns up later is another training."""
    if champion is not None:
        return sha256_file(champion.weights)
    if run.config.model.weights == "random":
        return None
    from vision.models.weights import find_start

    path, _ = find_start(run.config.model, run.weights_root)
    return sha256_file(path) if path else None


def _open_run(run: Run, tracker: Tracker, key: str, dataset: Dataset) -> str:
    config = run.config
    tags = {"reason": run.reason, "system": config.system, "config_sha": run.config_sha, **run.git_tags()}
    if run.window:
        tags["window"] = run.window
    here = tags["state"] = sha256_json([socket.gethostname(), str(run.state.root)])[:16]
    run_id = tracker.open_run(key, f"{config.model.arch}_training", tags)
    tracker.close_left_runs(run_id, here)
    tracker.log_params(run_id, flatten(config.model_dump(mode="json", exclude={"cards", "description"})))
    tracker.log_dataset(run_id, config.system, run.dataset_folder, dataset.dvc_md5, dataset.files)
    return run_id


def _recorded(run: Run, dataset: Dataset, model: StageResult) -> StageResult:
    """With a run that this registry has: a stored training's may lie in another, or in one that is gone. Then what is
    stored is recorded anew.
    """
    if not model.reused:
        return model
    tracker = run.tracker()
    run_id = tracker.known_run(model.made["run_id"], model.key)
    if run_id is None:
        run_id = _open_run(run, tracker, model.key, dataset)
        for record in json.loads((model.folder / "history.json").read_text()):
            tracker.log_metrics(run_id, _numbers(record), step=int(record["epoch"]))
        times = {"train_seconds": model.made["seconds"], "train_cpu_seconds": model.made["cpu_seconds"]}
        tracker.log_metrics(run_id, times)
        tracker.client.set_tag(run_id, "recorded_anew", model.made["run_id"])
    return model.model_copy(update={"made": {**model.made, "run_id": run_id}})


def _numbers(record: dict) -> dict[str, float]:
    return {key: value for key, value in record.items() if isinstance(value, int | float)}


def _record(tracker: Tracker, run_id: str, record: dict, bar: Progress, known: int) -> None:
    """known: the last epoch that MLflow has of a training which goes on."""
    if record["epoch"] > known:
        tracker.log_metrics(run_id, _numbers(record), step=int(record["epoch"]))
    shown = ["train_loss", *(name for name in record if name.startswith("val_") and name != "val_loss")]
    note = ", ".join(f"{name} {record[name]:.3f}" for name in shown)
    bar(int(record["epoch"]), int(record["epochs"]), f"{record['stage']}, {note}, {record['images_per_s']:.0f} img/s")


def flatten(value: dict, prefix: str = "") -> dict:
    """Nested dict -> dotted keys; lists as JSON."""
    flat = {}
    for key, item in value.items():
        if isinstance(item, dict):
            flat |= flatten(item, f"{prefix}{key}.")
        else:
            flat[prefix + key] = json.dumps(item) if isinstance(item, list) else item
    return flat
