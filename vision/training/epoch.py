"""One epoch of one stage: training steps, and validation."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vision.augment import build_augment
from vision.errors import UserError
from vision.kinds.base import Learning
from vision.models.freezing import set_training_mode, split_frozen
from vision.models.network import ServedModel
from vision.package import InputSpec
from vision.training.config import AugmentStep, StageConfig, TrainingConfig
from vision.training.inputs import Kept, Pixels
from vision.training.kept import Keeper, Shelf, kept_views, shared_part
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
    shelf: Shelf = field(default_factory=Shelf)
    inputs: Pixels | Kept = field(init=False)
    """Of the training split; `seen` of the validation split."""
    seen: Pixels | Kept = field(init=False)
    stage: StageConfig = field(init=False)
    optimizer: torch.optim.Optimizer = field(init=False)
    scaler: torch.amp.GradScaler = field(init=False)
    wrapped: nn.Module = field(init=False)
    """Takes `inputs`, for the team; `judged` takes what is `seen`."""
    judged: nn.Module = field(init=False)
    keeper: Keeper | None = field(init=False, default=None)
    """Until the stage's first epoch, where layers are frozen. What it makes goes to the `shelf`."""
    views: int | None = field(init=False, default=None)
    """That are kept of each training image; None: new ones each epoch."""

    def begin(self, number: int, optimizer: torch.optim.Optimizer) -> None:
        """number: of the stage, from 0."""
        config, network = self.plan.config, self.model.network
        self.stage, self.optimizer, self.scaler = self.plan.stages[number], optimizer, self.precision.scaler()
        self.inputs = self.seen = self._pixels(config.augment, self.plan.views)
        part = shared_part(self.plan.stages[number:])
        parts = split_frozen(network, part)
        if parts is None:
            self.shelf.part = self.shelf.loaders = None
            self.judged, self.wrapped = network, self.team.wrap(network)
            return
        frozen, self.judged = parts
        self.keeper = Keeper(frozen, self.inputs, self.team, config, part)
        self.views = kept_views(config, self.plan.stages, number)
        self.wrapped = self.team.wrap(network if self.views is None else self.judged)

    def judge_only(self) -> None:
        """In place of `begin`, where nothing trains: images as they will be served."""
        self.inputs = self.seen = self._pixels((), 1)
        self.judged = self.model.network

    def keep(self) -> None:
        """What frozen layers make of images; once for all stages in a row that freeze them, in the first epoch, whose time it takes."""
        if self.keeper is None:
            return
        keeper, self.keeper, views = self.keeper, None, self.views
        if self.shelf.part != keeper.part:
            train = self.loaders.train if views is None else keeper.keep(self.loaders.train, views)
            self.shelf.part, self.shelf.loaders = keeper.part, Loaders(train=train, val=keeper.keep(self.loaders.val))
        self.loaders, self.seen = self.shelf.loaders, Kept(self.precision.device)
        if views is not None:
            self.inputs = self.seen

    def _pixels(self, augment: Sequence[AugmentStep], views: int) -> Pixels:
        normalise, spec = self.model.normalise, self.plan.input
        return Pixels(
            normalise, build_augment(augment, spec, normalise.mean.flatten().tolist()), spec, views, self.precision
        )


def train_epoch(run: EpochRun, epoch: int, stage_epoch: int) -> dict[str, float]:
    """lr (of the last step, of the head), train_loss and images_per_s of the whole team.

    epoch: 1-based over all stages, seeds the order and the augmentation. stage_epoch: epochs of this stage before it.
    """
    config, team, start = run.plan.config, run.team, time.perf_counter()
    run.keep()
    batches = shuffled(len(run.loaders.train.indices), config.batch_size, config.seed, epoch, team)
    generator = torch.Generator().manual_seed(derived_seed(config.seed, "augment", epoch, team.rank))
    torch.manual_seed(derived_seed(config.seed, "dropout", epoch, team.rank))
    set_training_mode(run.model.network, run.stage.trainable)
    images_seen, loss_sum = 0, torch.zeros((), device=run.precision.device)
    warmup, steps = run.stage.warmup_epochs * len(batches), run.stage.epochs * len(batches)
    for number, (images, targets) in enumerate(_batches(run, batches, epoch)):
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


def _batches(run: EpochRun, batches: list[np.ndarray], epoch: int) -> Iterator[tuple[Tensor, Any]]:
    """(images uint8 [b, R, R, 3] or what is kept of them, targets) on the training device."""
    split, device = run.loaders.train, run.precision.device

    def read() -> Iterator[tuple[Tensor, Any]]:
        for positions in batches:
            yield split.read(positions, epoch), run.plan.learning.collate(split.targets, positions)

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
    inputs = run.seen.judging(split.read(positions))
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
