"""What a network is given of an image: its pixels, augmented anew each time, or what a frozen backbone made of it, once."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor, nn

from vision.augment import Augment
from vision.augment_moves import Moves
from vision.models.network import Normalise
from vision.package import InputSpec
from vision.preprocess import centre_crop
from vision.training.config import StageConfig, TrainingConfig
from vision.training.loaders import Loaders, SplitData, in_order
from vision.training.precision import MEMORY_FORMAT, Precision
from vision.training.team import Team


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
class Features:
    """Pooled features float [b, D] of a split's images, as they are."""

    device: torch.device

    def training(self, features: Tensor, generator: Generator) -> tuple[Tensor, Moves]:
        return features, Moves.none(len(features))

    def judging(self, features: Tensor) -> Tensor:
        return features.to(self.device)


class FromPooled(nn.Module):
    """The part of a network that comes after pooling, sharing its parameters: pooled float [N, D] -> outputs by name."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pooled: Tensor) -> dict[str, Tensor]:
        return self.network.from_pooled(pooled)


def trains_on_features(config: TrainingConfig, stage: StageConfig, network: nn.Module) -> bool:
    """Only the head trains, and an image looks the same in every epoch, or may: the backbone says one thing of it."""
    same = config.cache_features or not config.augment
    return same and stage.trainable == "head" and hasattr(network, "from_pooled")


def with_features(network: nn.Module, loaders: Loaders, pixels: Pixels, team: Team, batch_size: int) -> Loaders:
    """The same splits with pooled features, float32 [n, D], in place of images; each member of the team makes its share."""
    network.eval()

    def swapped(split: SplitData) -> SplitData:
        shares = in_order(len(split.indices), batch_size, team)
        features = np.zeros((len(split.indices), network.pooled_channels), np.float32)
        for positions in shares:
            features[positions] = _pooled(network, pixels, split.read(positions))
        team.fill(features)
        return SplitData(features, np.arange(len(features)), split.targets)

    return Loaders(train=swapped(loaders.train), val=swapped(loaders.val))


def _pooled(network: nn.Module, pixels: Pixels, images: Tensor) -> np.ndarray:
    with torch.inference_mode(), pixels.precision.autocast():
        return network(pixels.judging(images))["pooled"].float().cpu().numpy()
