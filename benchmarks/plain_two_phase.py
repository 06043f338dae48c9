"""The earlier systems' whole training as one would write it by hand: a frozen backbone under a new head, then fine-tuning.

Each epoch decodes its JPEGs with PIL in loader workers and runs the whole network forward, frozen part included, in float32;
each is validated in the same way. Nothing is kept from one epoch to the next but the weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torchvision import models, transforms

from benchmarks.plain_loops import MEAN, STD, JpegFiles, augmenting
from vision.errors import UserError
from vision.package import InputSpec
from vision.training.config import StageConfig, TrainingConfig

if TYPE_CHECKING:
    from configs.schema import SystemConfig

LOADER_WORKERS = 2


@dataclass(frozen=True)
class Files:
    """One split. targets: int64 [n], class numbers."""

    paths: list[Path]
    targets: np.ndarray


def train_plainly(splits: Mapping[str, Files], config: "SystemConfig", backbone: Path, best: Path) -> nn.Module:
    """A ResNet-18 at its best epoch by validation accuracy. splits: train and val. backbone: a .safetensors file with
    torchvision's names, without `fc`. best: where the best epoch's weights are kept, as they come."""
    training = config.training
    torch.manual_seed(training.seed)
    model = start(backbone, int(splits["train"].targets.max()) + 1)
    train = _loader(splits["train"], augmenting(config.input), training.batch_size, shuffle=True)
    val = _loader(splits["val"], judging(config.input), training.batch_size)
    highest = -1.0
    for stage in training.stages:
        trained = _trained(model, stage)
        model.requires_grad_(False)
        for module in trained:
            module.requires_grad_(True)
        optimizer, schedule = _optimizer(model, stage, training, len(train))
        for _ in range(stage.epochs):
            model.eval()  # a frozen part keeps its BatchNorm statistics, as in Keras
            for module in trained:
                module.train()
            _epoch(model, train, optimizer, schedule, training)
            accuracy = float(np.mean(answers(model, val) == splits["val"].targets))
            if accuracy > highest:
                highest = accuracy
                torch.save(model.state_dict(), best)
    model.load_state_dict(torch.load(best, weights_only=True))
    return model


def start(backbone: Path, classes: int) -> nn.Module:
    """Raises `UserError` for a file of another network."""
    from safetensors.torch import load_file

    model = models.resnet18(num_classes=classes)
    found = model.load_state_dict(load_file(str(backbone)), strict=False)
    if set(found.missing_keys) != {"fc.weight", "fc.bias"} or found.unexpected_keys:
        raise UserError(f"{backbone} is no ResNet-18", "a backbone under torchvision's names", "make it anew")
    return model


def judging(spec: InputSpec) -> transforms.Compose:
    return transforms.Compose(
        [
            transforms.Resize(spec.resize_px),
            transforms.CenterCrop(spec.side_px),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )


def judged(model: nn.Module, files: Files, config: "SystemConfig") -> np.ndarray:
    """int64 [n]: the class number that the model gives each image."""
    return answers(model, _loader(files, judging(config.input), config.training.batch_size))


def answers(model: nn.Module, loader: torch.utils.data.DataLoader) -> np.ndarray:
    model.eval()
    with torch.inference_mode():
        return np.concatenate([model(planes).argmax(1).numpy() for planes, _ in loader])


def _loader(
    files: Files, transform: transforms.Compose, batch_size: int, shuffle: bool = False
) -> torch.utils.data.DataLoader:
    images = JpegFiles(files.paths, files.targets, transform)
    return torch.utils.data.DataLoader(images, batch_size=batch_size, shuffle=shuffle, num_workers=LOADER_WORKERS)


def _trained(model: nn.Module, stage: StageConfig) -> list[nn.Module]:
    return {"head": [model.fc], "top": [model.layer4, model.fc], "all": [model]}[stage.trainable]


def _optimizer(
    model: nn.Module, stage: StageConfig, training: TrainingConfig, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW over what trains, one cycle over the stage; steps: an epoch's."""
    named = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
    head = [value for name, value in named if name.startswith("fc.")]
    rest = [value for name, value in named if not name.startswith("fc.")]
    groups = [{"params": head, "lr": stage.lr}]
    if rest:
        groups.append({"params": rest, "lr": stage.backbone_lr or stage.lr})
    optimizer = torch.optim.AdamW(groups, weight_decay=training.optimizer.weight_decay)
    peaks = [group["lr"] for group in groups]
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=peaks, total_steps=stage.epochs * steps, final_div_factor=1e4, cycle_momentum=False
    )
    return optimizer, schedule


def _epoch(model, loader, optimizer, schedule, training: TrainingConfig) -> None:
    for planes, labels in loader:
        loss = nn.functional.cross_entropy(model(planes), labels, label_smoothing=training.label_smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), training.clip_norm or 1e9)
        optimizer.step()
        schedule.step()
