"""The peers of the training benchmark: loops as one would write them by hand, without this project's training code."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torchvision import models, transforms

from vision.augment import build_augment
from vision.package import InputSpec
from vision.training.config import TrainingConfig

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Speed:
    """Of one epoch after the first: images a second of wall time, and CPU-seconds an image."""

    images_per_s: float
    cpu_s_per_image: float


def cached_loop(images: np.ndarray, targets: np.ndarray, spec: InputSpec, config: TrainingConfig, bf16: bool) -> Speed:
    """ResNet-18 on the decoded cache, augmented in batches like ours, at the precision that ours chose."""
    augment = build_augment(config.augment, spec, MEAN)
    generator = torch.Generator().manual_seed(0)
    mean, std = (torch.tensor(value).reshape(1, 3, 1, 1) * 255 for value in (MEAN, STD))

    def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        order = np.random.default_rng(0).permutation(len(images))
        for start in range(0, len(order), config.batch_size):
            chosen = order[start : start + config.batch_size]
            planes = augment(torch.from_numpy(images[chosen]), generator)
            yield (planes - mean) / std, torch.from_numpy(targets[chosen])

    return _train(batches, int(targets.max()) + 1, len(images), config, bf16)


class JpegFiles(torch.utils.data.Dataset):
    """Decoded by PIL each time that it is asked for."""

    def __init__(self, files: list[Path], targets: np.ndarray, transform: transforms.Compose) -> None:
        self.files, self.targets, self.transform = files, targets, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        with Image.open(self.files[index]) as image:
            return self.transform(image.convert("RGB")), int(self.targets[index])


def augmenting(spec: InputSpec) -> transforms.Compose:
    """The quickstart's augmentation, in torchvision's transforms of single PIL images."""
    return transforms.Compose(
        [
            transforms.RandomResizedCrop(spec.side_px, scale=(0.6, 1.0)),
            transforms.RandomHorizontalFlip(),
            transforms.RandomVerticalFlip(),
            transforms.ColorJitter(0.2, 0.2, 0.2, 0.02),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )


def decoding_loop(files: list[Path], targets: np.ndarray, spec: InputSpec, config: TrainingConfig) -> Speed:
    """The earlier systems' way: PIL decodes each JPEG each epoch, torchvision transforms, float32, loader workers."""
    loader = torch.utils.data.DataLoader(
        JpegFiles(files, targets, augmenting(spec)), batch_size=config.batch_size, shuffle=True, num_workers=2
    )
    return _train(lambda: iter(loader), int(targets.max()) + 1, len(files), config, bf16=False)


def _train(batches, classes: int, images: int, config: TrainingConfig, bf16: bool) -> Speed:
    """Two epochs; the first warms up and is not counted."""
    layout = torch.channels_last if bf16 else torch.contiguous_format
    model = models.resnet18(num_classes=classes).train().to(memory_format=layout)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=config.optimizer.weight_decay)
    for _ in range(2):
        wall, cpu = time.perf_counter(), cpu_seconds()
        for planes, labels in batches():
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                logits = model(planes.contiguous(memory_format=layout))
            loss = nn.functional.cross_entropy(logits.float(), labels, label_smoothing=config.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm or 1e9)
            optimizer.step()
        wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    return Speed(images / wall, cpu / images)


def cpu_seconds() -> float:
    """Of this process and of its children that have ended (the loader's workers end with their epoch)."""
    import resource

    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
