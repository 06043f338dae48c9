"""How many CPU-seconds an epoch of each stage takes on this device, from a few batches of the real training."""

from pathlib import Path
from typing import Any

from tasks.data.ingest import Dataset
from tasks.run import Run
from tasks.stage_task import stage_task
from tasks.stages import StageResult, run_stage
from tasks.training.pretrain import Start
from tasks.training.train import train_plan

BATCHES = 4


@stage_task("pace", tags=["training"])
def pace(run: Run, dataset: Dataset, cache: StageResult, start: Start) -> StageResult:
    """`made["cpu_seconds"]`: of an epoch by the name of its stage; `made["stages"]`: their epochs by the config.

    Measured once and kept: a budget that is made of it must come to the same training each time.
    """
    plan = train_plan(run, dataset, cache, start).model_copy(update={"stage": "pace", "resumable": False})
    return run_stage(run.stages, plan, lambda folder: _measure(run, dataset, cache, start.backbone, folder))


def _measure(run: Run, dataset: Dataset, cache: StageResult, backbone: Path | None, folder: Path) -> dict[str, Any]:
    from dataclasses import replace

    import torch

    from tasks.training.start import START, START_REPORT, TrainJob, build_model, load_or_make_start, loaders_of, plan_of
    from vision.models.network import load_model
    from vision.training.loop import fit

    job = TrainJob(run.config, dataset.labels, cache.folder, run.weights_root, backbone)
    weights = load_or_make_start(job, folder)
    plan, loaders = plan_of(job, weights), loaders_of(job)
    share = min(1.0, BATCHES * run.config.training.batch_size / len(loaders.train.indices))
    stages = tuple(stage.model_copy(update={"epochs": 1, "warmup_epochs": 0.0}) for stage in plan.stages)
    few = replace(loaders, train=_first(loaders.train, share), val=_first(loaders.val, share))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    fitted = fit(load_model(build_model(job), folder / START).to(device), few, replace(plan, stages=stages))
    for name in (START, START_REPORT):
        (folder / name).unlink()
    return {
        "cpu_seconds": {record["stage"]: record["cpu_seconds"] / share for record in fitted.history},
        "stages": {stage.name: stage.epochs for stage in plan.stages},
    }


def _first(split: Any, share: float) -> Any:
    from dataclasses import replace

    import numpy as np

    count = int(np.ceil(share * len(split.indices)))
    return replace(split, indices=split.indices[:count], targets=split.targets[:count])


def allowed_share(made: dict[str, Any], cpu_seconds: float) -> float:
    """Of the config's epochs, such that the training keeps within `cpu_seconds`; at most 1."""
    whole = sum(epochs * made["cpu_seconds"][name] for name, epochs in made["stages"].items())
    return min(1.0, cpu_seconds / whole) if whole else 1.0
