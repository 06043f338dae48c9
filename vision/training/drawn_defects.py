"""Pre-training for a memory of normal patches: find what was drawn on normal images.

An untrained network's features tell a scratch from the grain of the metal no better than their random filters happen to. Here
they learn to tell it, from normal images alone; the memory (vision/models/memory.py) is then filled with what they say of
images on which nothing is drawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from vision.models.config import ModelConfig
from vision.models.memory import PatchMemory
from vision.training.config import TrainingConfig
from vision.training.defect_drawing import draw_defects
from vision.training.unlabelled import Unlabelled

RARE = 3.0
"""The head begins by saying that 1 place in exp(3) has a defect."""
FOCUS = 1.0
"""Exponent of the focal loss (Lin et al. 2017): most places are clean, and soon known to be."""


class DrawnDefectsNetwork(PatchMemory):
    """The features that a memory is made of, and a head that tells drawn places. Only the backbone is kept afterwards.

    images float [N, 3, S, S], normalised -> {"logits" [N, h, w], "drawn" float [N, h, w], "pooled" [N, channels]}.
    """

    def __init__(self, backbone: nn.Module, config: ModelConfig, hidden: int) -> None:
        super().__init__(backbone, config.memory)
        self.head = nn.Sequential(
            nn.Conv2d(self.pooled_channels, hidden, 3, padding=1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, 1, 1),
        )
        nn.init.constant_(self.head[-1].bias, -RARE)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        with torch.autocast(images.device.type, enabled=False):
            images, drawn = draw_defects(images.float())
        features = self.features(images)
        logits = self.head(features.permute(0, 3, 1, 2))[:, 0]
        places = functional.adaptive_max_pool2d(drawn[:, None].float(), logits.shape[1:])[:, 0]
        return {"logits": logits, "drawn": places, "pooled": features.mean(dim=(1, 2))}


@dataclass(frozen=True)
class DrawnDefects(Unlabelled):
    """The part of `vision.kinds.base.Learning` that `fit` uses; the targets come from drawing, nothing to validate on."""

    hidden: int
    views: int

    name = "drawn_defects"
    outputs = ("logits", "embedding")

    def network(self, config: ModelConfig, labels: Sequence[str], seed: int, side_px: int = 224) -> nn.Module:
        """Random weights, the same for the same seed; the caller's random state is left as it was."""
        from vision.models.factory import Backbone

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return DrawnDefectsNetwork(Backbone(config.arch, config.stem), config, self.hidden)

    def loss(self, outputs: Mapping[str, Tensor], targets: Any, config: TrainingConfig) -> Tensor:
        return sigmoid_focal_loss(outputs["logits"].float(), outputs["drawn"], alpha=-1, gamma=FOCUS, reduction="mean")
