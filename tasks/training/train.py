"""Training on Ray, recorded in MLflow as it goes."""

from tasks.cluster.session import ensure_ray
from tasks.data.ingest import Dataset
from tasks.run import Run
from tasks.stage_task import stage_task
from tasks.stages import StagePlan, StageResult, run_stage
from tasks.training.pretrain import PATIENCE, Start
from tasks.training.record import recording, with_known_run
from vision.errors import UserError
from vision.package import sha256_file

# What makes the weights. The adapters (tasks/cluster/) are left out: they carry, they don't compute.
SOURCE = (
    "vision.training.loop",
    "vision.training.stages",
    "vision.training.statistics",
    "vision.models.factory",
    "vision.models.detectors",
    "vision.training.box_loss",
    "vision.models.weights",
)


@stage_task("train", tags=["training"])
def train(run: Run, dataset: Dataset, cache: StageResult, start: Start) -> StageResult:
    """`model.safetensors` (best epoch by the headline), `history.json`, `fit.json`; `made["run_id"]`: MLflow's run."""
    plan, pretrained = train_plan(run, dataset, cache, start), start.pretrained

    def work(folder):
        from tasks.cluster.train import TrainJob, train_on_ray

        _refuse_small_split(run, cache)
        if start.champion is not None:
            print(f"going on from the champion, version {start.champion.version}", flush=True)
        if start.other is not None:
            print(f"starting from the backbone of {start.other.system}, version {start.other.version}", flush=True)
        job = TrainJob(
            config=run.config,
            labels=dataset.labels,
            cache=cache.folder,
            weights_root=run.weights_root,
            pretrained=start.backbone,
            champion=start.champion,
        )
        ensure_ray(run.ray_address)
        with recording(run, "train", plan.key, dataset) as record:
            if pretrained:
                record.tag("pretraining_run", pretrained.made["run_id"])
            report = train_on_ray(job, folder, record)
            record.times(report)
        made = {"pretrain": pretrained.key} if pretrained else {}
        return {"run_id": record.run_id, **made, **report.model_dump(mode="json")}

    return with_known_run(run, dataset, run_stage(run.stages, plan, work))


def train_plan(run: Run, dataset: Dataset, cache: StageResult, start: Start) -> StagePlan:
    kind, weights = run.config.kind, weights_sha(run, start)
    return StagePlan(
        stage="train",
        section={
            "kind": kind,
            "model": run.config.model.model_dump(mode="json"),
            "training": run.config.training.model_dump(mode="json", exclude=PATIENCE),
        },
        inputs={"cache": cache.key, "labels": list(dataset.labels), "weights": weights},
        roots=(*SOURCE, f"vision.kinds.{kind}", f"vision.kinds.{kind}_learning"),
        resumable=True,
    )


def _refuse_small_split(run: Run, cache: StageResult) -> None:
    """A batch that no step can fill is a mistake: all images a step, and a rate that was chosen for more of them."""
    from tasks.training.start import labelled_images
    from vision.data.cache import ImageCache

    config = run.config.training
    images = len(labelled_images(ImageCache.open(cache.folder), run.config))
    if config.stages and config.batch_size > images:
        part = "" if config.label_share == 1 else f" (training.label_share = {config.label_share:g})"
        raise UserError(
            f"training.batch_size = {config.batch_size}, but the training split has {images} images{part}",
            f"at most {images}",
            "lower training.batch_size, add images, or give `data.split.train` a larger share",
        )


def weights_sha(run: Run, start: Start) -> str | None:
    """sha256 of the file that training would start from: a file that turns up later is another training."""
    if start.champion is not None:
        return sha256_file(start.champion.weights)
    if run.config.model.weights == "random":
        return None
    from vision.models.weights import find_start

    path, _ = find_start(run.config.model, run.weights_root, start.backbone)
    return sha256_file(path) if path else None
