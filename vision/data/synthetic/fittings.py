"""What is on a metal plate and is no defect: bolts, drilled holes, ink, oil, glare, lint, dust, a worked edge.

Every image gets the same of it, flawless ones too, in the darkness and brightness that defects have: neither "there is a
dark spot" nor "there is a line" gives anything away.
"""

import numpy as np

from vision.data.synthetic.defects import stroke
from vision.data.synthetic.metal import Plate
from vision.data.synthetic.texture import Spot, fractal, grid, mix, soft_step

INKS = np.array([(0.06, 0.07, 0.10), (0.05, 0.11, 0.42), (0.45, 0.05, 0.06), (0.05, 0.26, 0.12), (0.80, 0.78, 0.70)])


def _amount(rng: np.random.Generator, chance: float, most: int) -> int:
    return int(rng.integers(1, most + 1)) if rng.random() < chance else 0


def _disc(rng: np.random.Generator, plate: Plate, size: float, reach: float) -> Spot | None:
    """A round place that is free, now taken; None where there is none."""
    for _ in range(12):
        at = rng.uniform(-0.5, 0.5, 2)
        spot = Spot(rng, at, size, plate.side_px, wobble=0.0, oval=0.0, reach=reach)
        if not plate.taken[spot.window].any():
            plate.taken[spot.window] |= spot.radius < 1.25
            return spot
    return None


def bolts(rng: np.random.Generator, plate: Plate) -> None:
    """Heads with a socket, hexagon or slot, a bevel that shines and a washer around some."""
    size, socket = rng.uniform(0.035, 0.07), rng.integers(3)
    colour = plate.metal * rng.uniform(0.55, 1.25) + rng.normal(0, 0.015, 3)
    for _ in range(_amount(rng, 0.4, 3)):
        spot = _disc(rng, plate, size, reach=1.6)
        if spot is None:
            continue
        window = spot.window
        plate.image[window] *= 1 - 0.3 * (1 - soft_step(0.95, 1.3, spot.radius))[..., None]
        plate.image[window] = mix(plate.image[window], colour, spot.cover() * 0.95)
        plate.height[window] += 0.35 * spot.size_px * (1 - soft_step(0.72, 1.02, spot.radius))
        y, x = np.sin(spot.angle) * spot.radius, np.cos(spot.angle) * spot.radius
        if socket == 0:
            drive = np.max([np.abs(np.cos(turn) * x + np.sin(turn) * y) for turn in np.arange(3) * np.pi / 3], axis=0)
            hollow = 1 - soft_step(0.42, 0.5, drive)
        elif socket == 1:
            hollow = 1 - soft_step(0.10, 0.18, np.where(spot.radius < 0.8, np.abs(y), 1))
        else:
            hollow = 1 - soft_step(0.10, 0.18, np.where(spot.radius < 0.6, np.minimum(np.abs(x), np.abs(y)), 1))
        plate.image[window] = mix(plate.image[window], colour * 0.25, hollow * 0.85)


def holes(rng: np.random.Generator, plate: Plate) -> None:
    """Drilled: dark and perfectly round, in a bright chamfer."""
    size = rng.uniform(0.022, 0.055)
    beneath = rng.uniform(0.03, 0.16)
    for _ in range(_amount(rng, 0.4, 3)):
        spot = _disc(rng, plate, size, reach=1.6)
        if spot is None:
            continue
        chamfer = spot.cover(inner=0.8, outer=1.0)
        plate.image[spot.window] = mix(plate.image[spot.window], np.clip(plate.metal * 1.5, 0, 1), chamfer * 0.8)
        plate.image[spot.window] = mix(plate.image[spot.window], (beneath,) * 3, spot.cover(outer=0.82))


def ink(rng: np.random.Generator, plate: Plate) -> None:
    """Strokes of a marker: ticks, arrows, rings, a number; of one width and one colour."""
    colour, half = INKS[rng.integers(len(INKS))], rng.uniform(0.004, 0.008)
    for _ in range(_amount(rng, 0.45, 3)):
        at, size = rng.uniform(-0.42, 0.42, 2), rng.uniform(0.04, 0.11)
        count = int(rng.integers(3, 6))
        if rng.random() < 0.4:
            turn = np.linspace(0, rng.uniform(4.5, 6.6), 24) + rng.uniform(0, 6.3)
            path = at + size * np.stack([np.sin(turn), np.cos(turn) * rng.uniform(0.7, 1.3)], axis=1)
        else:
            path = at + size * rng.uniform(-1, 1, (count, 2))
        window, distance, _ = stroke(path, plate.side_px, half * plate.side_px + 2)
        share = np.clip(half * plate.side_px + 0.5 - distance, 0, 1) * rng.uniform(0.55, 0.9)
        plate.image[window] = mix(plate.image[window], colour, share)


def oil(rng: np.random.Generator, plate: Plate) -> None:
    """Films and drips: darker, smooth, without relief."""
    for _ in range(_amount(rng, 0.45, 3)):
        size = rng.uniform(0.04, 0.17)
        spot = Spot(rng, rng.uniform(-0.45, 0.45, 2), size, plate.side_px, wobble=0.2, oval=1.0)
        edge = spot.radius + 0.15 * fractal(rng, plate.side_px, 9, 2)[spot.window]
        film = (1 - soft_step(0.8, rng.uniform(1.0, 1.3), edge)) * rng.uniform(0.25, 0.7)
        tint = np.array((0.34, 0.27, 0.17)) if rng.random() < 0.6 else np.array((0.16, 0.16, 0.17))
        plate.image[spot.window] = mix(plate.image[spot.window], plate.image[spot.window] * tint * 1.6, film)


def lint(rng: np.random.Generator, plate: Plate) -> None:
    """Fibres and chips: short, curled, thin, light or dark."""
    for _ in range(_amount(rng, 0.5, 5)):
        colour = plate.metal * (1.7 if rng.random() < 0.5 else 0.25)
        heading = rng.uniform(-np.pi, np.pi) + rng.normal(0, 0.55, 14).cumsum()
        steps = rng.uniform(0.004, 0.008) * np.stack([np.sin(heading), np.cos(heading)], axis=1)
        path = rng.uniform(-0.46, 0.46, 2) + steps.cumsum(axis=0)
        window, distance, _ = stroke(path, plate.side_px, 4)
        share = np.clip(1.1 - distance, 0, 1) * rng.uniform(0.5, 0.9)
        plate.image[window] = mix(plate.image[window], colour, share)


def dust(rng: np.random.Generator, plate: Plate) -> None:
    """Specks, far smaller than pits."""
    colour = plate.metal * rng.choice([0.3, 0.45, 1.6])
    for _ in range(_amount(rng, 0.5, 22)):
        spot = Spot(
            rng, rng.uniform(-0.5, 0.5, 2), rng.uniform(0.003, 0.007), plate.side_px, wobble=0.2, oval=0.8, reach=2
        )
        plate.image[spot.window] = mix(plate.image[spot.window], colour, spot.cover() * rng.uniform(0.4, 0.9))


def worked_edge(rng: np.random.Generator, plate: Plate) -> None:
    """A milled step, a bend or a seam right across the picture, or the plate's own border."""
    if rng.random() > 0.4:
        return
    y, x = grid(plate.side_px)
    turn = plate.turn + rng.choice([0, np.pi / 2])
    away = (np.cos(turn) * y - np.sin(turn) * x - rng.uniform(-0.46, 0.46)) * plate.side_px
    soft_px = rng.uniform(1.0, 4.0)
    plate.height += rng.choice([-1, 1]) * rng.uniform(1.0, 2.5) * soft_px * soft_step(-soft_px, soft_px, away)
    if rng.random() < 0.4:
        beyond = soft_step(-1, 1, away if rng.random() < 0.5 else -away)[..., None]
        plate.image *= 1 + beyond * rng.uniform(-0.3, 0.25)


def glare(rng: np.random.Generator, plate: Plate, field: np.ndarray) -> np.ndarray:
    """The light's own reflection: a soft band across the finish, or a lamp. field and result: float32 [S, S, 3]."""
    y, x = grid(plate.side_px)
    if rng.random() < 0.5:
        away = np.cos(plate.turn) * y - np.sin(plate.turn) * x - rng.uniform(-0.5, 0.5)
        field = field + rng.uniform(0.1, 0.5) * np.exp(-((away / rng.uniform(0.05, 0.25)) ** 2))[..., None]
    if rng.random() < 0.25:
        at, size = rng.uniform(-0.45, 0.45, 2), rng.uniform(0.03, 0.09)
        lamp = np.exp(-(((y - at[0]) / size) ** 2 + ((x - at[1]) / (size * rng.uniform(1, 2))) ** 2))
        field = field + rng.uniform(0.2, 0.6) * lamp[..., None]
    return field


def fit(rng: np.random.Generator, plate: Plate) -> None:
    """All of it but the glare, in place."""
    for part in (worked_edge, bolts, holes, oil, ink):
        part(rng, plate)


def litter(rng: np.random.Generator, plate: Plate) -> None:
    """What fell on it last: it may lie on a defect too."""
    for part in (lint, dust):
        part(rng, plate)
