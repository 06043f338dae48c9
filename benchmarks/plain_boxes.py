"""The peer of the detectors' training benchmark: torchvision's own model and loop, as its reference scripts have them."""

import statistics
import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.models import detection
from torchvision.transforms import v2

from benchmarks.plain_loops import Speed, cpu_seconds
from vision.data.boxes.annotations import ImageBoxes
from vision.training.config import TrainingConfig

LOADER_WORKERS = 2

Sample = tuple[Tensor, dict[str, Tensor]]


class AnnotatedFiles(torch.utils.data.Dataset):
    """Decoded by PIL each time that it is asked for, flipped as `quickstart_defects` says. Labels from 1 on: 0 is the background."""

    def __init__(self, root: Path, images: list[ImageBoxes], labels: tuple[str, ...]) -> None:
        self.root, self.images = root, images
        self.numbers = {label: number for number, label in enumerate(labels, 1)}
        self.transform = v2.Compose(
            [v2.ToImage(), v2.RandomHorizontalFlip(), v2.RandomVerticalFlip(), v2.ToDtype(torch.float32, scale=True)]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        described = self.images[index]
        with Image.open(self.root / described.path) as image:
            picture = image.convert("RGB")
        corners = torch.tensor([box[1:] for box in described.boxes], dtype=torch.float32).reshape(-1, 4)
        size = (picture.height, picture.width)
        target = {
            "boxes": tv_tensors.BoundingBoxes(corners, format="XYXY", canvas_size=size),
            "labels": torch.tensor([self.numbers[box.label] for box in described.boxes], dtype=torch.int64),
        }
        return self.transform(picture, target)


def boxes_loop(files: AnnotatedFiles, config: TrainingConfig, epochs: int) -> Speed:
    """SSDLite320-MobileNetV3-Large from random weights, in float32. epochs: two or more; the first warms up and is not counted, of
    the others it is the median."""
    # Its BatchNorm can't train on a last batch of one.
    loader = torch.utils.data.DataLoader(
        files, config.batch_size, shuffle=True, num_workers=LOADER_WORKERS, collate_fn=_listed, drop_last=True
    )
    images_seen = len(loader) * config.batch_size
    model = detection.ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=len(files.numbers) + 1
    ).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=config.optimizer.weight_decay)
    found = []
    for _ in range(epochs):
        wall, cpu = time.perf_counter(), cpu_seconds()
        for images, targets in loader:
            loss = sum(model(images, targets).values())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm or 1e9)
            optimizer.step()
        wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
        found.append((images_seen / wall, cpu / images_seen))
    return Speed(*(statistics.median(values) for values in zip(*found[1:], strict=True)))


def _listed(samples: list[Sample]) -> tuple[Any, ...]:
    return tuple(zip(*samples, strict=True))
