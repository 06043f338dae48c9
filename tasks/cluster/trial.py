"""One trial of a search, as Ray Tune runs it: the training loop of every training, with other settings."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from configs.tuning import TuningConfig, Value, overridden
from tasks.cluster.resources import threads_for
from tasks.cluster.worker import STATE, load_state
from tasks.training.record import numbers
from tasks.training.start import START, TrainJob, build_model, loaders_of, plan_of
from vision.errors import UserError
from vision.models.network import load_model
from vision.models.weights import WeightsReport
from vision.training.epoch import Plan
from vision.training.loop import fit
from vision.training.seeds import set_seed
from vision.training.shorten import at_most

SCORE = "score"
"""The best epoch's so far: what a training keeps, and so what a trial is worth."""

SPENT = "cpu_seconds_so_far"


@dataclass(frozen=True)
class TrialSettings:
    """job: with the config's own settings. folder: the stage's. weights: what its start.safetensors holds. gpus: of a trial."""

    job: TrainJob
    tuning: TuningConfig
    folder: Path
    weights: WeightsReport
    gpus: float

    def plan(self, values: Mapping[str, Value]) -> tuple[TrainJob, Plan]:
        """What a trial with these values trains."""
        config = overridden(self.job.config, values)
        stages = plan_of(self.job, self.weights).stages
        short = at_most(config.training, stages, self.tuning.max_epochs)
        job = replace(self.job, config=config.model_copy(update={"training": short}))
        return job, plan_of(job, self.weights)

    @property
    def epochs(self) -> int:
        return sum(stage.epochs for stage in self.plan({})[1].stages)


def run_trial(values: dict[str, Value], settings: TrialSettings) -> None:
    """Reports each epoch with a checkpoint, and goes on from the last one. Settings under which the loss is lost end
    quietly: that is what there was to learn of them."""
    torch.set_num_threads(threads_for(settings.tuning.cpus_per_trial))
    job, plan = settings.plan(values)
    set_seed(plan.config.seed)
    device = "cuda" if settings.gpus else "cpu"
    model = load_model(build_model(job), settings.folder / START).to(device)
    try:
        fit(model, loaders_of(job), plan, _report, _last_state())
    except UserError as error:
        print(f"trial ended: {error.got}", flush=True)


def _report(record: dict[str, Any], state: dict[str, Any]) -> None:
    from ray import tune

    with tempfile.TemporaryDirectory() as folder:
        torch.save(state, Path(folder) / STATE)
        spent = sum(epoch["cpu_seconds"] for epoch in state["history"])
        told = {SCORE: state["position"]["best_score"], SPENT: spent, **numbers(record)}
        tune.report(told, checkpoint=tune.Checkpoint.from_directory(folder))


def _last_state() -> dict[str, Any] | None:
    from ray import tune

    checkpoint = tune.get_checkpoint()
    return load_state(checkpoint) if checkpoint else None
