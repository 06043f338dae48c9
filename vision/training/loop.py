"""`fit`: any number of stages, each some epochs over the training split, validated after each; the best epoch is kept.

Pure: it knows no Ray, no files and no tracker. What happens in an epoch depends on the seed, the epoch's number and the
member of the team alone, so a training that is resumed from its state equals one that was never broken.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vision.models.freezing import freeze_except
from vision.models.network import ServedModel
from vision.training.epoch import EpochRun, Plan, train_epoch, validate
from vision.training.finish import FINISH, finished
from vision.training.kept import Shelf
from vision.training.loaders import Loaders
from vision.training.precision import MEMORY_FORMAT, Precision, PrecisionReport, choose_precision
from vision.training.seeds import derived_seed
from vision.training.stages import build_optimizer
from vision.training.state import Progress
from vision.training.team import Alone, Team

OnEpoch = Callable[[dict[str, Any], dict[str, Any]], None]
"""Called with (record, state) after each epoch. `state` refers to live tensors: save it before returning."""


@dataclass(frozen=True)
class FitResult:
    """best: the network's state dict at `best_epoch` (1-based over all stages), which the model holds too.

    history: one record an epoch: epoch, epochs (planned), stage, lr, train_loss, val_* metrics, seconds, images_per_s,
    cpu_seconds (of the whole team). score: the headline metric on the validation split at the best epoch.
    """

    best: dict[str, Tensor]
    best_epoch: int
    score: float
    history: list[dict[str, Any]]
    precision: PrecisionReport


def fit(
    model: ServedModel,
    loaders: Loaders,
    plan: Plan,
    on_epoch: OnEpoch | None = None,
    resume: dict[str, Any] | None = None,
    team: Team | None = None,
) -> FitResult:
    """Trains `model.network` in place and leaves it at its best epoch, in eval mode.

    A stage begins from the best epoch so far. It ends after its epochs, or when `early_stop_epochs` of them in a row
    were not better. What the kind finishes after the last stage (`Learning.finish`) is one more epoch, and the one that
    counts. resume: a state that `on_epoch` was given, of a training with the same plan and team size.
    Raises `UserError` when the loss is no longer a number, or there is too little to train on.
    """
    team = team or Alone()
    device = model.projection.device
    # The caller's random state is left alone; CUDA's is part of it where there is one.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(derived_seed(plan.config.seed, "fit"))
        progress = Progress.restored(resume) if resume else Progress()
        report = progress.precision or _agreed_precision(model, plan, device, team)
        progress.precision = report
        precision = Precision(report.chosen, device)
        model.network.to(memory_format=MEMORY_FORMAT)
        shelf = Shelf()
        while progress.stage < len(plan.stages):
            _run_stage(EpochRun(model, loaders, plan, team, precision, shelf), progress, on_epoch, resume)
            progress.next_stage()
            resume = None
        _finish(EpochRun(model, loaders, plan, team, precision), progress, on_epoch)
        model.network.load_state_dict(progress.best)
    model.eval()
    return FitResult(progress.best, progress.best_epoch, progress.best_score, progress.history, report)


def _agreed_precision(model: ServedModel, plan: Plan, device: torch.device, team: Team) -> PrecisionReport:
    """Rank 0's choice for all: members whose probes differ would average gradients of different networks."""
    if not plan.stages:  # nothing is trained
        return PrecisionReport(chosen="float32")
    report = choose_precision(plan.config.precision, model.network, plan.input.side_px, device)
    return PrecisionReport.model_validate(team.gather(report.model_dump())[0])


def _run_stage(run: EpochRun, progress: Progress, on_epoch: OnEpoch | None, resume: dict[str, Any] | None) -> None:
    network, stage, config = run.model.network, run.plan.stages[progress.stage], run.plan.config
    if resume:
        network.load_state_dict(resume["model"])
    elif progress.best is not None:
        network.load_state_dict(progress.best)
    freeze_except(network, stage.trainable)
    run.begin(progress.stage, build_optimizer(network, stage, config.optimizer))
    if resume:
        run.optimizer.load_state_dict(resume["optimizer"])
        run.scaler.load_state_dict(resume["scaler"])
    patience = stage.early_stop_epochs or config.early_stop_epochs
    while progress.stage_epoch < stage.epochs and not progress.is_stale(patience):
        record = _run_epoch(run, progress)
        progress.note(record, run.plan.score(record), network)
        if on_epoch is not None:
            on_epoch(record, progress.state(network, run.optimizer, run.scaler))


def _finish(run: EpochRun, progress: Progress, on_epoch: OnEpoch | None) -> None:
    """Every member of a team does all of it, so that all hold the same. A resumed training may have it behind it."""
    network, wall, cpu = run.model.network, time.perf_counter(), time.process_time()
    if progress.stage > len(run.plan.stages):
        return
    if progress.best is not None:
        network.load_state_dict(progress.best)
    run.judge_only()
    found = finished(run)
    if found is None:
        return
    record = {
        "epoch": progress.epoch + 1,
        "epochs": progress.epoch + 1,
        "stage": FINISH,
        **found,
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": sum(run.team.gather(time.process_time() - cpu)),
    }
    progress.finish(record, run.plan.score(record), network)
    if on_epoch is not None:
        still = torch.optim.SGD(network.parameters(), lr=0.0)
        on_epoch(record, progress.state(network, still, run.precision.scaler()))


def _run_epoch(run: EpochRun, progress: Progress) -> dict[str, Any]:
    wall, cpu = time.perf_counter(), time.process_time()
    epoch = progress.epoch + 1
    trained = train_epoch(run, epoch, progress.stage_epoch)
    metrics = validate(run)
    return {
        "epoch": epoch,
        "epochs": progress.epochs_before() + sum(s.epochs for s in run.plan.stages[progress.stage :]),
        "stage": run.stage.name,
        **trained,
        **{f"val_{name}": value for name, value in metrics.items()},
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": sum(run.team.gather(time.process_time() - cpu)),
    }
