"""Pre-training on Ray: the backbone that a training with `model.weights: simclr` or `drawn_defects` starts from.

It sees those images of the training split that the kind learns from, and no label. The others would teach the backbone what
validation and test images look like: no label leaks so, but a score on them would no longer be one on images that the model
has never met.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.cluster.session import ensure_ray
from tasks.data.ingest import Dataset
from tasks.run import Run
from tasks.stage_task import stage_task
from tasks.stages import StagePlan, StageResult, run_stage
from tasks.training.other_system import OtherStart, other_start, refuse_known_images
from tasks.training.record import recording, with_known_run
from tasks.training.warm_start import champion_start
from vision.errors import UserError

if TYPE_CHECKING:
    from configs.schema import SystemConfig
    from tasks.training.start import ChampionStart, TrainJob

SOURCE = (
    "vision.training.loop",
    "vision.training.pretexts",
    "vision.training.pretraining",
    "vision.training.stages",
    "vision.training.statistics",
    "vision.models.factory",
)
PATIENCE = {"max_failures", "worker_wait_s"}
"""Changes no weights: who raises one after a failure goes on from the last checkpoint."""
NETWORK = {"arch": True, "stem": True, "normalise": True, "memory": {"layers", "neighbourhood", "local_px"}}
"""Of `model`: what the pre-trained network is made by."""
BACKBONE, WHOLE = "backbone.safetensors", "model.safetensors"


@dataclass(frozen=True)
class Start:
    """What a training begins with: a champion to go on from in place of `model.weights`, or a stage's backbone, or another system's
    champion, or none of these.

    Asked for once a run: champions may change while it searches and trains.
    """

    champion: "ChampionStart | None" = None
    pretrained: StageResult | None = None
    other: OtherStart | None = None

    @property
    def backbone(self) -> Path | None:
        if self.other:
            return self.other.weights
        return self.pretrained.folder / BACKBONE if self.pretrained else None


def starting_weights(run: Run, dataset: Dataset, cache: StageResult) -> Start:
    """Pre-trains where the config asks for it and no champion is to go on: that one has a better start."""
    if (champion := champion_start(run, dataset)) is not None:
        if run.config.model.system is not None:
            refuse_known_images(run, champion.weights.parent, cache)
        return Start(champion=champion)
    if run.config.pretraining is not None:
        return Start(pretrained=_pretrain(run, dataset, cache))
    return Start(other=other_start(run, cache))


@stage_task("pretrain", tags=["training"])
def _pretrain(run: Run, dataset: Dataset, cache: StageResult) -> StageResult:
    """`backbone.safetensors` (torchvision's names), `history.json`, `fit.json`; `made["run_id"]`: its own MLflow run."""
    config = pretraining_system(run.config)
    plan = _plan(config, cache)

    def work(folder):
        from tasks.cluster.train import train_on_ray

        job = pretraining_job(config, dataset.labels, cache.folder)
        _refuse_small_split(config, cache.folder)
        ensure_ray(run.ray_address)
        with recording(run, "pretrain", plan.key, dataset) as record:
            report = train_on_ray(job, folder, record)
            record.times(report)
        keep_backbone(folder)
        return {"run_id": record.run_id, **report.model_dump(mode="json")}

    made = with_known_run(run, dataset, run_stage(run.stages, plan, work))
    run.tracker().close_run(made.made["run_id"])
    return made


def pretraining_system(config: "SystemConfig") -> "SystemConfig":
    """The system whose training is this one's pre-training: what the loop, Ray and the stage's key go by."""
    from vision.training.pretraining import pretraining_as_training

    side_px = config.pretraining.side_px or config.input.side_px
    changes = {
        "model": config.model.model_copy(update={"weights": "random"}),
        "training": pretraining_as_training(config.pretraining, config.training, side_px),
        "input": config.input.model_copy(update={"side_px": side_px}),
    }
    return config.model_copy(update=changes)


def pretraining_job(config: "SystemConfig", labels: tuple[str, ...], cache: Path) -> "TrainJob":
    """config: from `pretraining_system`."""
    from tasks.training.start import TrainJob
    from vision.training.pretexts import pretext

    return TrainJob(config=config, labels=labels, cache=cache, pretext=pretext(config.pretraining))


def _plan(config: "SystemConfig", cache: StageResult) -> StagePlan:
    section = {
        "network": config.model.model_dump(mode="json", include=NETWORK),
        "pretraining": config.pretraining.model_dump(mode="json"),
        "training": config.training.model_dump(mode="json", exclude={*PATIENCE, "version"}),
        "side_px": config.input.side_px,
    }
    return StagePlan(stage="pretrain", section=section, inputs={"cache": cache.key}, roots=SOURCE, resumable=True)


def _refuse_small_split(config: "SystemConfig", cache: Path) -> None:
    """There must be a batch in an epoch; SimCLR tells an image from the others of its own."""
    from tasks.training.start import labelled_images
    from vision.data.cache import ImageCache

    images, asked = len(labelled_images(ImageCache.open(cache), config)), config.pretraining.batch_size
    if asked > images:
        raise UserError(
            f"pretraining.batch_size = {asked}, but the training split has {images} images",
            f"at most {images}",
            "lower pretraining.batch_size, add images, or give `data.split.train` a larger share",
        )


def keep_backbone(folder: Path) -> None:
    """backbone.safetensors out of model.safetensors, which goes. Again after a kill: nothing is left to do, or all of it."""
    from safetensors.torch import load_file, save_file

    if not (folder / WHOLE).is_file():
        return
    prefix, partial = "network.backbone.", folder / f".{BACKBONE}.partial"
    tensors = load_file(str(folder / WHOLE))
    save_file({name.removeprefix(prefix): tensors[name] for name in tensors if name.startswith(prefix)}, str(partial))
    partial.chmod(0o644)
    partial.replace(folder / BACKBONE)
    (folder / WHOLE).unlink()
