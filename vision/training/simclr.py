"""SimCLR (Chen et al. 2020): two views of an image shall look alike to the network, and unlike those of all others.

Each worker contrasts its own share of a batch: its negatives are fewer than those of one worker with the whole batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vision.models.config import ModelConfig
from vision.training.config import TrainingConfig
from vision.training.unlabelled import Unlabelled


def nt_xent(projected: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross-entropy (equation 1), mean over all views.

    projected: float [2 N, D], rows i and i + N being views of one image. Each row's partner is to be told from the 2 N - 2
    views of other images; log(2 N - 1) is what a network that tells nothing apart gets.
    """
    unit = functional.normalize(projected.float(), dim=1)
    count = len(unit)
    itself = torch.eye(count, dtype=torch.bool, device=unit.device)
    logits = (unit @ unit.T / temperature).masked_fill(itself, float("-inf"))
    partners = torch.arange(count, device=unit.device).roll(count // 2)
    return functional.cross_entropy(logits, partners)


class SimClrNetwork(nn.Module):
    """Backbone, global average pooling, projection head (section 2.1; batch norm as in the authors' code).

    images float [N, 3, H, W] -> {"projected" [N, size], "pooled" [N, channels]}. Only the backbone is kept afterwards.
    """

    def __init__(self, backbone: nn.Module, hidden: int, size: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.pooled_channels = backbone.channels
        self.head = nn.Sequential(
            nn.Linear(backbone.channels, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, size),
        )

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        pooled = self.backbone(images).mean(dim=(2, 3))
        return {"projected": self.head(pooled), "pooled": pooled}


@dataclass(frozen=True)
class SimClr(Unlabelled):
    """The part of `vision.kinds.base.Learning` that `fit` uses; there are no targets, and nothing to validate on."""

    temperature: float
    hidden: int | None
    size: int

    name = "simclr"
    views = 2
    outputs = ("projected", "embedding")

    def network(self, config: ModelConfig, labels: Sequence[str], seed: int, side_px: int = 224) -> nn.Module:
        """Random weights, the same for the same seed; the caller's random state is left as it was."""
        from vision.models.factory import Backbone

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            backbone = Backbone(config.arch, config.stem)
            return SimClrNetwork(backbone, self.hidden or backbone.channels, self.size)

    def loss(self, outputs: Mapping[str, Tensor], targets: Any, config: TrainingConfig) -> Tensor:
        return nt_xent(outputs["projected"], self.temperature)
