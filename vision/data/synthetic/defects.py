"""Defects of a metal surface, each with the exact pixels that it spoils: scratches, pits, dents; and rust, never trained on.

A scratch and a pit change colour and relief, a dent only the relief: it shows by how the light lies in it.
"""

from collections.abc import Callable, Sequence

import numpy as np

from vision.data.synthetic.metal import Plate
from vision.data.synthetic.texture import Spot, fractal, mix, soft_step

Window = tuple[slice, slice]
MARGIN = 0.02
"""Free space, in sides, that is left around a defect: neighbours would be one blot."""
TRIES = 60


def stroke(points: np.ndarray, side_px: int, reach_px: float) -> tuple[Window, np.ndarray, np.ndarray]:
    """A window around a path [n, 2] of (y, x) in sides and there, float32 [h, w], each pixel's distance from the path in
    pixels and how far along the path (0..1) it lies."""
    path = (np.asarray(points) + 0.5) * side_px - 0.5
    steps = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
    dense = np.linspace(0, steps[-1], max(2, int(steps[-1] * 2)))
    path = np.stack([np.interp(dense, steps, path[:, axis]) for axis in (0, 1)], axis=1).astype(np.float32)
    low = np.clip(np.floor(path.min(axis=0) - reach_px), 0, side_px).astype(int)
    high = np.clip(np.ceil(path.max(axis=0) + reach_px) + 1, low, side_px).astype(int)
    y = np.arange(low[0], high[0], dtype=np.float32)[:, None, None] - path[:, 0]
    x = np.arange(low[1], high[1], dtype=np.float32)[None, :, None] - path[:, 1]
    square = y**2 + x**2
    nearest = square.argmin(axis=2)
    distance = np.sqrt(np.take_along_axis(square, nearest[..., None], axis=2)[..., 0])
    return (slice(low[0], high[0]), slice(low[1], high[1])), distance, (nearest / len(path)).astype(np.float32)


def scratch(rng: np.random.Generator, plate: Plate, number: int) -> bool:
    """One to three grooves side by side that run across the finish and fade out at their ends."""
    side_px = plate.side_px
    for _ in range(TRIES):
        length, turn = rng.uniform(0.16, 0.42), rng.uniform(0.2, np.pi / 2 - 0.2) * rng.choice([-1, 1])
        across = np.abs(np.sin(turn - plate.turn))
        along = np.linspace(-0.5, 0.5, 12)[:, None]
        bend = rng.normal(0, 0.05) * (along**2 - 0.08) + 0.004 * rng.standard_normal((12, 1)).cumsum(axis=0) / 3
        ahead, aside = np.array([np.sin(turn), np.cos(turn)]), np.array([np.cos(turn), -np.sin(turn)])
        path = rng.uniform(-0.42, 0.42, 2) + length * along * ahead + bend * aside
        if across < 0.35 or np.abs(path).max() > 0.485:
            continue
        half_px = max(0.8, rng.uniform(0.0035, 0.0075) * side_px)
        if _cut(rng, plate, [path + shift * aside for shift in _sides(rng)], half_px, number):
            return True
    return False


def _sides(rng: np.random.Generator) -> Sequence[float]:
    return rng.uniform(-0.022, 0.022, int(rng.choice([1, 2, 3], p=[0.6, 0.25, 0.15])))


def _cut(rng: np.random.Generator, plate: Plate, paths: list[np.ndarray], half_px: float, number: int) -> bool:
    """Cuts the grooves where all of them find room."""
    side_px, grooves = plate.side_px, []
    for path in paths:
        window, distance, along = stroke(path, side_px, 4 * half_px + 2)
        fade = soft_step(0, 0.12, along) * (1 - soft_step(0.88, 1, along))
        grooves.append((window, distance, fade * rng.uniform(0.75, 1)))
    spoilt = np.zeros_like(plate.taken)
    for window, distance, fade in grooves:
        spoilt[window] |= (distance < half_px + 0.7) & (fade > 0.2)
    if not _claim(plate, spoilt, number):
        return False
    bright = rng.random() < 0.6
    fresh = np.clip(plate.metal * (rng.uniform(1.55, 2.1) if bright else rng.uniform(0.25, 0.5)), 0, 1.2)
    deep_px = half_px * rng.uniform(0.5, 1.0)
    for window, distance, fade in grooves:
        core = np.clip(half_px + 0.5 - distance, 0, 1) * fade
        plate.image[window] = mix(plate.image[window], fresh, core * rng.uniform(0.6, 0.9))
        burr = np.exp(-(((distance - 1.6 * half_px) / (0.6 * half_px)) ** 2))
        plate.height[window] += fade * deep_px * (0.35 * burr - np.clip(1 - distance / (1.2 * half_px), 0, 1))
    return True


def pit(rng: np.random.Generator, plate: Plate, number: int) -> bool:
    """A small ragged hole with a dark floor and a rim that catches the light."""
    for _ in range(TRIES):
        size = np.exp(rng.uniform(np.log(0.026), np.log(0.062)))
        at = rng.uniform(-0.5 + 1.6 * size, 0.5 - 1.6 * size, 2)
        spot = Spot(rng, at, size, plate.side_px, wobble=0.16, oval=0.5)
        rough = fractal(rng, plate.side_px, 1.1 / size, 2)[spot.window]
        radius = spot.radius + 0.12 * rough
        if not _claim(plate, _whole(plate, spot.window, radius < 1), number):
            continue
        floor = plate.metal * rng.uniform(0.18, 0.42) * np.array([1.06, 1.0, 0.94])
        inside = 1 - soft_step(0.75, 1.05, radius)
        plate.image[spot.window] = mix(plate.image[spot.window], floor, inside * rng.uniform(0.7, 0.92))
        depth_px = spot.size_px * rng.uniform(0.5, 0.9)
        plate.height[spot.window] -= depth_px * (1 - soft_step(0.45, 1.1, radius)) - 0.12 * depth_px * rough * inside
        return True
    return False


def dent(rng: np.random.Generator, plate: Plate, number: int) -> bool:
    """A blow's hollow with a soft rim: no colour of its own, the finish runs on through it."""
    for _ in range(TRIES):
        size = rng.uniform(0.065, 0.135)
        at = rng.uniform(-0.48 + size, 0.48 - size, 2)
        spot = Spot(rng, at, size, plate.side_px, wobble=0.05, oval=0.5, reach=1.9)
        if not _claim(plate, _whole(plate, spot.window, spot.radius < 1), number):
            continue
        depth_px = spot.size_px * rng.uniform(0.55, 0.95)
        bowl = 1 - soft_step(0.0, 1.0, spot.radius)
        rim = np.exp(-(((spot.radius - 1.0) / 0.16) ** 2))
        plate.height[spot.window] += depth_px * (0.07 * rim - bowl)
        return True
    return False


def rust(rng: np.random.Generator, plate: Plate, number: int) -> bool:
    """A brown bloom with a ragged edge. No drawn data set trains on it: what is new must look new."""
    for _ in range(TRIES):
        size = rng.uniform(0.06, 0.15)
        spot = Spot(rng, rng.uniform(-0.45 + size, 0.45 - size, 2), size, plate.side_px, wobble=0.25, oval=0.6)
        ragged = spot.radius + 0.3 * fractal(rng, plate.side_px, 14, 3)[spot.window]
        if not _claim(plate, _whole(plate, spot.window, ragged < 0.9), number):
            continue
        colour = np.array((0.40, 0.20, 0.09)) * rng.uniform(0.7, 1.2)
        speckle = np.clip(0.75 + 0.25 * fractal(rng, plate.side_px, 60, 2)[spot.window], 0, 1)
        plate.image[spot.window] = mix(
            plate.image[spot.window], colour, (1 - soft_step(0.55, 1.0, ragged)) * speckle * 0.9
        )
        return True
    return False


def _whole(plate: Plate, window: Window, inside: np.ndarray) -> np.ndarray:
    whole = np.zeros_like(plate.taken)
    whole[window] = inside
    return whole


def _claim(plate: Plate, spoilt: np.ndarray, number: int) -> bool:
    """Writes the defect's pixels down when it is in one piece with room around it; else nothing changes."""
    from scipy import ndimage

    rows, columns = np.flatnonzero(spoilt.any(axis=1)), np.flatnonzero(spoilt.any(axis=0))
    if rows.size == 0:
        return False
    free = round(MARGIN * plate.side_px)
    around = tuple(slice(max(0, at[0] - free), at[-1] + 1 + free) for at in (rows, columns))
    if plate.taken[around].any():
        return False
    plate.marks[spoilt] = number
    plate.taken |= ndimage.binary_dilation(spoilt, iterations=max(1, free // 2))
    return True


PAINTERS: dict[str, Callable[[np.random.Generator, Plate, int], bool]] = {
    "dent": dent, "pit": pit, "rust": rust, "scratch": scratch,
}  # fmt: skip
"""Each puts defect `number` on the plate and says whether it found room."""
