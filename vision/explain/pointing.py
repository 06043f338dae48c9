"""The pointing game: does the hottest place of an explanation lie on what it should explain?

Zhang et al. 2018, "Top-down neural attention by excitation backprop" (arXiv:1608.00507): a hit when the maximum of the
heatmap lies within 15 px of the object, on VOC's photographs of about 500 px. Here the tolerance is that share of the
image's side (3.4 px of 112).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from vision.package import InputSpec
from vision.preprocess import to_input

TOLERANCE = 15 / 500
"""Of the image's side."""
LIKELY = 1.96
"""Two-sided 95 % of the normal distribution."""


@dataclass(frozen=True)
class Rate:
    """A share of `count` trials with its 95 % interval (Wilson 1927)."""

    value: float
    low: float
    high: float
    count: int


def mask_input(mask: np.ndarray, spec: InputSpec) -> np.ndarray:
    """mask [H, W] of an image file, nonzero on the object -> bool [S, S], as the model's input shows it."""
    shown = Image.fromarray(np.where(mask > 0, 255, 0).astype(np.uint8)).convert("RGB")
    return to_input(shown, spec)[..., 0] > 127


def hit_area(mask: np.ndarray) -> np.ndarray:
    """bool [S, S]: on the mask or within the tolerance of it. Its share is a random point's chance of a hit."""
    from scipy import ndimage

    if not mask.any():
        return np.zeros_like(mask, dtype=bool)
    return ndimage.distance_transform_edt(~mask.astype(bool)) <= TOLERANCE * mask.shape[0]


def points_at(heatmap: np.ndarray, side_px: int) -> tuple[int, int] | None:
    """(row, column) of the hottest pixel when heatmap [g, g] is laid over the image as `/explain` does; None without heat."""
    if not float(heatmap.max(initial=0.0)) > 0:
        return None
    laid = Image.fromarray(np.asarray(heatmap, np.float32)).resize((side_px, side_px), Image.Resampling.BILINEAR)
    row, column = divmod(int(np.asarray(laid).argmax()), side_px)
    return row, column


def play(heatmaps: Sequence[np.ndarray], areas: Sequence[np.ndarray]) -> np.ndarray:
    """bool [n]: is each heatmap's hottest pixel in its image's hit area? No heat is no hit."""
    points = [points_at(heatmap, area.shape[0]) for heatmap, area in zip(heatmaps, areas, strict=True)]
    return np.array([point is not None and bool(area[point]) for point, area in zip(points, areas, strict=True)], bool)


def rate(hits: np.ndarray) -> Rate:
    """hits: bool [n], n >= 1."""
    count, share = len(hits), float(np.mean(hits))
    spread = LIKELY**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = LIKELY * math.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return Rate(share, max(0.0, middle - half), min(1.0, middle + half), count)
