"""One epoch of one stage: training steps, and validation."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vision.augment import build_augment
from vision.errors import UserError
from vision.kinds.base import Learning
from vision.models.freezing import set_training_mode
from vision.models.network import ServedModel
from vision.package import InputSpec
from vision.training.config import StageConfig, TrainingConfig
from vision.training.inputs import Features, FromPooled, Pixels, trains_on_features, with_features
from vision.training.loaders import Loaders, SplitData, in_order, prefetched, shuffled
from vision.training.precision import Precision
from vision.training.schedules import lr_factor
from vision.training.seeds import derived_seed
from vision.training.stages import set_rates
from vision.training.team import Team


@dataclass(frozen=True)
class Plan:
    """What a training does, apart from the data and the network. stages: `config.stages` or
    `config.stages_from_scratch`. views: how often each image is augmented, one after the other in a batch."""

    learning: Learning
    labels: tuple[str, ...]
    input: InputSpec
    config: TrainingConfig
    stages: tuple[StageConfig, ...]
    views: int = 1

    def score(self, record: dict[str, Any]) -> float:
        """Of an epoch, higher is better: the headline; where there is nothing to validate on, by the training loss."""
        return record.get(f"val_{self.learning.headline}", -record["train_loss"])


@dataclass
class EpochRun:
    """All that the epochs of one stage share. `begin` sets what belongs to the stage."""

    model: ServedModel
    loaders: Loaders
    plan: Plan
    team: Team
    precision: Precision
    inputs: Pixels | Features = field(init=False)
    stage: StageConfig = field(init=False)
    optimizer: torch.optim.Optimizer = field(init=False)
    scaler: torch.amp.GradScaler = field(init=False)
    judged: nn.Module = field(init=False)
    """Takes `inputs`; `wrapped` is the same for the team."""
    wrapped: nn.Module = field(init=False)

    def begin(self, stage: StageConfig, optimizer: torch.optim.Optimizer) -> None:
        plan, normalise, network = self.plan, self.model.normalise, self.model.network
        augment = build_augment(plan.config.augment, plan.input, normalise.mean.flatten().tolist())
        self.inputs = Pixels(normalise, augment, plan.input, plan.views, self.precision)
        self.stage, self.optimizer = stage, optimizer
        self.scaler = self.precision.scaler()
        self.judged = FromPooled(network) if trains_on_features(plan.config, stage, network) else network
        self.wrapped = self.team.wrap(self.judged)

    def judge_only(self) -> None:
        """In place of `begin`, where nothing trains: images as they will be served."""
        augment = build_augment((), self.plan.input, self.model.normalise.mean.flatten().tolist())
        self.inputs = Pixels(self.model.normalise, augment, self.plan.input, 1, self.precision)
        self.judged = self.model.network

    def make_features(self) -> None:
        """Where the stage trains on them; once, in its first epoch, whose time they take."""
        if isinstance(self.judged, FromPooled) and isinstance(self.inputs, Pixels):
            network, batch_size = self.model.network, self.plan.config.batch_size
            self.loaders = with_features(network, self.loaders, self.inputs, self.team, batch_size)
            self.inputs = Features(self.precision.device)


def train_epoch(run: EpochRun, epoch: int, stage_epoch: int) -> dict[str, float]:
    """lr (of the last step, of the head), train_loss and images_per_s of the whole team.

    epoch: 1-based over all stages, seeds the order and the augmentation. stage_epoch: epochs of this stage before it.
    """
    config, team, start = run.plan.config, run.team, time.perf_counter()
    run.make_features()
    batches = shuffled(len(run.loaders.train.indices), config.batch_size, config.seed, epoch, team)
    generator = torch.Generator().manual_seed(derived_seed(config.seed, "augment", epoch, team.rank))
    torch.manual_seed(derived_seed(config.seed, "dropout", epoch, team.rank))
    set_training_mode(run.model.network, run.stage.trainable)
    images_seen, loss_sum = 0, torch.zeros((), device=run.precision.device)
    warmup, steps = run.stage.warmup_epochs * len(batches), run.stage.epochs * len(batches)
    for number, (images, targets) in enumerate(_batches(run, run.loaders.train, batches)):
        set_rates(run.optimizer, lr_factor(config.schedule, stage_epoch * len(batches) + number, steps, warmup))
        inputs, moves = run.inputs.training(images, generator)
        loss_sum += _step(run, inputs, run.plan.learning.moved(targets, moves)) * len(images)
        images_seen += len(images)
    loss_total, images_total = np.sum(team.gather([float(loss_sum), images_seen]), axis=0).tolist()
    if not math.isfinite(loss_total):
        raise _diverged(run, epoch)
    seconds = time.perf_counter() - start
    lr = max(group["lr"] for group in run.optimizer.param_groups)
    return {"lr": lr, "train_loss": loss_total / images_total, "images_per_s": images_total / seconds}


def _step(run: EpochRun, inputs: Tensor, targets: Any) -> Tensor:
    """One update; returns the batch's mean loss, not yet waited for on a GPU."""
    with run.precision.autocast():
        outputs = run.wrapped(inputs)
    loss = run.plan.learning.loss(outputs, targets, run.plan.config)
    run.scaler.scale(loss).backward()
    if run.plan.config.clip_norm is not None:
        run.scaler.unscale_(run.optimizer)
        trained = [value for group in run.optimizer.param_groups for value in group["params"]]
        nn.utils.clip_grad_norm_(trained, run.plan.config.clip_norm)
    run.scaler.step(run.optimizer)
    run.scaler.update()
    run.optimizer.zero_grad(set_to_none=True)
    return loss.detach()


def _batches(run: EpochRun, split: SplitData, batches: list[np.ndarray]) -> Iterator[tuple[Tensor, Any]]:
    """(images uint8 [b, R, R, 3] or their features, targets) on the training device."""
    device = run.precision.device

    def read() -> Iterator[tuple[Tensor, Any]]:
        for positions in batches:
            yield split.read(positions), run.plan.learning.collate(split.targets, positions)

    if device.type == "cpu":
        yield from read()
        return
    for images, targets in prefetched(read()):
        yield images.to(device), to_device(targets, device)


def to_device(targets: Any, device: torch.device) -> Any:
    """Tensors, and lists or dicts of them, on `device`."""
    if isinstance(targets, Tensor):
        return targets.to(device)
    if isinstance(targets, dict):
        return {name: to_device(value, device) for name, value in targets.items()}
    return [to_device(value, device) for value in targets] if isinstance(targets, list | tuple) else targets


def validate(run: EpochRun) -> dict[str, float]:
    """`Learning.score` over the validation split, in the training's precision; each member sees its share of the
    images. Nothing for an empty split."""
    split, learning = run.loaders.val, run.plan.learning
    if not len(split.indices):
        return {}
    run.team.share_buffers(run.model.network)
    run.model.network.eval()
    shares = in_order(len(split.indices), run.plan.config.batch_size, run.team)
    found = [_outputs(run, split, positions) for positions in shares]
    names = found[0].keys() if found else ()
    mine = {name: np.concatenate([part[name] for part in found]) for name in names}
    positions = np.concatenate(shares) if shares else np.arange(0)
    members = [member for member in run.team.gather((positions, mine)) if len(member[0])]
    order = np.argsort(np.concatenate([positions for positions, _ in members]))
    whole = {name: np.concatenate([outputs[name] for _, outputs in members])[order] for name in members[0][1]}
    return learning.score(whole, split.targets, run.plan.labels)


def _outputs(run: EpochRun, split: SplitData, positions: np.ndarray) -> dict[str, np.ndarray]:
    inputs = run.inputs.judging(split.read(positions))
    with torch.inference_mode(), run.precision.autocast():
        outputs = run.judged(inputs)
    wanted = (name for name in run.model.outputs if name in outputs)
    return {name: outputs[name].float().cpu().numpy() for name in wanted}


def _diverged(run: EpochRun, epoch: int) -> UserError:
    return UserError(
        f"the training loss is no longer a number in epoch {epoch} (stage {run.stage.name}, lr {run.stage.lr:g}, "
        f"{run.precision.name})",
        "a finite loss",
        "lower the stage's lr, or set training.precision: float32",
    )
