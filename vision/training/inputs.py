"""What a network is given of an image: its pixels, augmented anew each time, or what its frozen layers made of them, once."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from vision.augment import Augment
from vision.augment_moves import Moves
from vision.models.network import Normalise
from vision.package import InputSpec
from vision.preprocess import centre_crop
from vision.training.precision import MEMORY_FORMAT, Precision


@dataclass(frozen=True)
class Pixels:
    """views: how often each image is augmented, all first views before all second ones."""

    normalise: Normalise
    augment: Augment
    spec: InputSpec
    views: int
    precision: Precision

    def training(self, images: Tensor, generator: Generator) -> tuple[Tensor, Moves]:
        """images uint8 [b, R, R, 3] -> normalised float [views b, 3, S, S], and where its pixels came from."""
        views, moves = zip(*(self.augment.moving(images, generator) for _ in range(self.views)), strict=True)
        planes = self.normalise.planes(views[0] if len(views) == 1 else torch.cat(views))
        return planes.contiguous(memory_format=MEMORY_FORMAT), moves[0]

    def judging(self, images: Tensor) -> Tensor:
        """The centre crops, which are what will be served."""
        planes = self.normalise(centre_crop(images, self.spec).to(self.precision.device))
        return planes.contiguous(memory_format=MEMORY_FORMAT)


@dataclass(frozen=True)
class Kept:
    """What `vision.models.freezing.Frozen` made of a split's images, as it is."""

    device: torch.device

    def training(self, found: Tensor, generator: Generator) -> tuple[Tensor, Moves]:
        return self.judging(found), Moves.none(len(found))

    def judging(self, found: Tensor) -> Tensor:
        """found: [b, C, h, w] or [b, D]."""
        found = found.to(self.device).float()
        return found.contiguous(memory_format=MEMORY_FORMAT) if found.ndim == len("NCHW") else found
