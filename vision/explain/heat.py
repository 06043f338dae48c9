"""A heat of patches: where each of its places lies in the image, and which areas of it are too hot. No torch.

A unit i of a map whose layers halve the image with odd, evenly padded kernels sees the image around pixel i * stride, and
not around the middle of the i-th of equal cells (Araujo et al. 2019, "Computing Receptive Fields"). Its cell here reaches
half a stride to both sides of that.
"""

import numpy as np

FINER = 4
"""Cells of a heat that is laid over an image, for each place of it along a side."""


def laid(heat: np.ndarray) -> np.ndarray:
    """heat float [h, w] of places -> float [FINER h, FINER w] of equal cells that cover the image, linear in between."""
    down, across = (_weights(places) for places in heat.shape)
    return down @ heat @ across.T


def hot_areas(heat: np.ndarray, limit: float = 1.0) -> list[tuple[float, np.ndarray]]:
    """Connected places above the limit, touching corners too, the hottest area first: (its greatest heat, its box).

    The box is that of the places at least half as hot as the hottest: further out lies what only sees the find at the rim
    of its receptive field. heat: float [h, w]. box: float64 [4], x1, y1, x2, y2 in 0..1 of the image that the heat is of.
    """
    numbered = _numbered(heat > limit)
    height, width = heat.shape
    sides, found = np.array([width, height, width, height]), []
    for number in np.unique(numbered[numbered > 0]):
        own = np.where(numbered == number, heat, 0.0)
        down, across = np.nonzero(own >= own.max() / 2)
        edges = np.array([across.min(), down.min(), across.max() + 1, down.max() + 1]) - 0.5
        found.append((float(own.max()), np.clip(edges / sides, 0.0, 1.0)))
    return sorted(found, key=lambda area: -area[0])


def _numbered(hot: np.ndarray) -> np.ndarray:
    """hot: bool [h, w] -> int [h, w]: one number above 0 for each area that is connected, corners too; 0 elsewhere.

    A server has no scipy. Each place takes the largest number around it until none changes.
    """
    numbers = np.where(hot, np.arange(1, hot.size + 1).reshape(hot.shape), 0)
    while True:
        around = np.lib.stride_tricks.sliding_window_view(np.pad(numbers, 1), (3, 3)).max(axis=(2, 3))
        spread = np.where(hot, around, 0)
        if np.array_equal(spread, numbers):
            return numbers
        numbers = spread


def hottest_point(heat: np.ndarray) -> tuple[float, float]:
    """(x, y) in 0..1 of the image."""
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    return float(column / heat.shape[1]), float(row / heat.shape[0])


def _weights(places: int) -> np.ndarray:
    """[FINER places, places]: linear interpolation from the places to the middles of the cells."""
    middles = (np.arange(FINER * places) + 0.5) / FINER
    at = np.clip(middles, 0, places - 1)
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(places)))
