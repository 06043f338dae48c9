"""A memory of normal patches, and the distance of new ones from it (PatchCore: Roth et al. 2022, arXiv:2106.08265).

A patch is a place of a feature map with its neighbours. What differs from the paper: features are standardised and projected
to fewer numbers (Johnson and Lindenstrauss 1984), which carries the distances and makes the memory small; the image's
score is the mean of its hottest patches, without the paper's re-weighting.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from vision.errors import UserError
from vision.models.config import MemoryConfig
from vision.models.factory import steps

SPREAD_FLOOR = 1e-4
FLAT = 0.1
"""Added to a window's spread, in units of the normalised image: where nothing is to be seen, noise stays small."""
MOST = 4.0
"""Spreads from its window's mean beyond which a pixel is no stranger."""
PROBE_PX = 64


class PatchMemory(nn.Module):
    """images float [N, 3, S, S], normalised -> score [N, 1], heat [N, h, w], pooled [N, channels].

    heat: distance of each patch from the nearest remembered one, in units of the threshold: 1 is an alarm. The memory, the
    threshold and the features' scale are buffers, which `remember` and `set_threshold` fill.
    """

    def __init__(self, backbone: nn.Module, config: MemoryConfig) -> None:
        super().__init__()
        trim(backbone, config.layers)
        self.backbone, self.config = backbone, config
        self.pooled_channels = channels = self._channels()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("spread", torch.ones(channels))
        self.register_buffer("projection", torch.randn(channels, config.numbers) / config.numbers**0.5)
        self.register_buffer("memory", torch.zeros(config.patches, config.numbers))
        self.register_buffer("threshold", torch.ones(()))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.features(images)
        heat = self.heat(self.projected(features), self.memory) / self.threshold
        pooled = ((features - self.mean) / self.spread).mean(dim=(1, 2))
        return {"score": self.scored(heat), "heat": heat, "pooled": pooled}

    def features(self, images: Tensor) -> Tensor:
        """[N, 3, S, S] -> [N, h, w, channels]: the layers' maps, averaged over neighbours, on the grid of the last.

        A finer map is read at every second (fourth, ...) place, which looks at the very pixel that the coarser place does.
        """
        if self.config.local_px is not None:
            images = locally_normalised(images, self.config.local_px)
        side, maps = self.config.neighbourhood, self._maps(images)
        strides = [round(found.shape[-1] / maps[-1].shape[-1]) for found in maps]
        averaged = [
            functional.avg_pool2d(found, side, stride, side // 2, count_include_pad=False)
            for found, stride in zip(maps, strides, strict=True)
        ]
        return torch.cat(averaged, dim=1).permute(0, 2, 3, 1)

    def projected(self, features: Tensor) -> Tensor:
        """[..., channels] -> [..., numbers]."""
        return ((features - self.mean) / self.spread) @ self.projection

    def heat(self, patches: Tensor, memory: Tensor) -> Tensor:
        """patches [N, h, w, numbers], memory [m, numbers] -> [N, h, w]: the distance from the nearest remembered patch."""
        return nearest(patches.flatten(1, 2), memory).unflatten(1, patches.shape[1:3])

    def scored(self, heat: Tensor) -> Tensor:
        """[N, h, w] -> [N, 1]: the mean of the hottest patches."""
        flat = heat.flatten(1)
        count = min(self.config.hottest, flat.shape[1])
        return flat.topk(count, dim=1).values.mean(dim=1, keepdim=True)

    def scale(self, features: Tensor) -> None:
        """features: [n, channels] of normal patches; their mean and spread standardise all that come."""
        self.mean.copy_(features.mean(dim=0))
        self.spread.copy_(features.std(dim=0).clamp_min(SPREAD_FLOOR))

    def remember(self, patches: Tensor) -> None:
        """patches: [m, numbers], 1 <= m <= `config.patches`. Places that are left hold the same ones again."""
        places = torch.arange(len(self.memory), device=patches.device) % len(patches)
        self.memory.copy_(patches[places])

    def _maps(self, images: Tensor) -> list[Tensor]:
        maps = []
        for name, step in steps(self.backbone):
            images = step(images)
            if name in self.config.layers:
                maps.append(images)
        return maps

    def _channels(self) -> int:
        was_training = self.backbone.training
        self.backbone.eval()
        with torch.no_grad():
            maps = self._maps(torch.zeros(1, 3, PROBE_PX, PROBE_PX))
        self.backbone.train(was_training)
        return sum(found.shape[1] for found in maps)


def trim(backbone: nn.Module, layers: Sequence[str]) -> None:
    """Drops what comes after the last of `layers`: it would never run. Raises `UserError` for a layer that there is not."""
    known = [name for name, _ in steps(backbone)]
    if strange := [name for name in layers if name not in known]:
        raise UserError(
            f"model.memory.layers: {', '.join(strange)}",
            f"layers of the backbone: {', '.join(known)}",
            "correct model.memory.layers",
        )
    for name in known[max(map(known.index, layers)) + 1 :]:
        parent, _, child = name.rpartition(".")
        delattr(backbone.get_submodule(parent), child)


def nearest(patches: Tensor, memory: Tensor) -> Tensor:
    """patches [..., n, d], memory [m, d] -> distance of each from the nearest one, [..., n]."""
    least = (memory.square().sum(dim=-1) - (2 * patches) @ memory.T).amin(dim=-1)
    return (least + patches.square().sum(dim=-1)).clamp_min(0).sqrt()


def locally_normalised(images: Tensor, side_px: int) -> Tensor:
    """images [N, 3, S, S]: each pixel less the mean of its window, by the window's spread."""
    # Not the mean of squares less the square of the mean: in bfloat16 nothing would be left of the difference.
    apart = images - _blurred(images, side_px)
    spread = _blurred(apart.square(), side_px).sqrt()
    return (apart / (spread + FLAT)).clamp(-MOST, MOST)


def _blurred(images: Tensor, side_px: int) -> Tensor:
    """Mean over a square window, along each axis in turn; at the edge, over what is there."""
    half = side_px // 2
    rows = functional.avg_pool2d(images, (side_px, 1), 1, (half, 0), count_include_pad=False)
    return functional.avg_pool2d(rows, (1, side_px), 1, (0, half), count_include_pad=False)
