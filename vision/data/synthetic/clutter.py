"""What lies on a leaf and is no disease: dust, soil splashes, drops, insects, bites, scald, miners' trails.

Every class gets the same of it, healthy leaves too, so that "there is a spot" gives nothing away.
"""

import numpy as np

from vision.data.synthetic.leaf import Blade
from vision.data.synthetic.texture import Spot, fractal, mix, soft_step


def _places(rng: np.random.Generator, blade: Blade, count: int) -> list[tuple[float, float]]:
    side_px = blade.cover.shape[0]
    inside = np.flatnonzero(blade.depth > 0.01)
    chosen = rng.choice(inside, count) if len(inside) else np.zeros(0, int)
    return [((cell // side_px + 0.5) / side_px - 0.5, (cell % side_px + 0.5) / side_px - 0.5) for cell in chosen]


def _amount(rng: np.random.Generator, chance: float, most: int) -> int:
    return int(rng.integers(1, most + 1)) if rng.random() < chance else 0


def scald(rng: np.random.Generator, blade: Blade, image: np.ndarray) -> None:
    """Bleached or yellowed patches without a border."""
    pale = np.array([(0.62, 0.60, 0.42), (0.60, 0.52, 0.14), (0.45, 0.50, 0.25)])[rng.integers(3)]
    for at in _places(rng, blade, _amount(rng, 0.25, 3)):
        spot = Spot(rng, at, rng.uniform(0.02, 0.09), image.shape[0], wobble=0.2, oval=0.8)
        share = rng.uniform(0.15, 0.4) * (1 - soft_step(0.2, 1.4, spot.radius))
        image[spot.window] = mix(image[spot.window], pale, share * blade.cover[spot.window])


def splash(rng: np.random.Generator, blade: Blade, image: np.ndarray) -> None:
    """Dried mud: a thin film over the leaf, with crumbs."""
    if rng.random() > 0.25:
        return
    side_px = image.shape[0]
    film = soft_step(0.9, 1.9, fractal(rng, side_px, rng.uniform(3, 8), 4) + 0.25 * fractal(rng, side_px, 40, 2))
    mud = np.array([(0.34, 0.25, 0.16), (0.22, 0.16, 0.10), (0.48, 0.41, 0.31)])[rng.integers(3)]
    image[:] = mix(image, mud, film * rng.uniform(0.2, 0.5) * blade.cover)


def trail(rng: np.random.Generator, blade: Blade, image: np.ndarray) -> None:
    """The pale winding trail of a leaf miner."""
    for at in _places(rng, blade, _amount(rng, 0.15, 2)):
        heading, (y, x) = rng.uniform(-np.pi, np.pi), at
        for _ in range(int(rng.integers(15, 40))):
            heading += rng.normal(0, 0.45)
            y, x = y + 0.008 * np.sin(heading), x + 0.008 * np.cos(heading)
            spot = Spot(rng, (y, x), 0.006, image.shape[0], wobble=0.0, oval=0.0)
            share = 0.4 * spot.cover() * blade.cover[spot.window]
            image[spot.window] = mix(image[spot.window], (0.68, 0.68, 0.52), share)


def bites(rng: np.random.Generator, blade: Blade, image: np.ndarray, beneath: np.ndarray) -> np.ndarray:
    """Holes that show what lies beneath, with a thin dry rim; returns their cover, float32 [S, S]."""
    holes = np.zeros_like(blade.cover)
    for at in _places(rng, blade, _amount(rng, 0.22, 3)):
        spot = Spot(rng, at, rng.uniform(0.008, 0.035), image.shape[0], wobble=0.22, oval=0.8)
        rim = (
            spot.cover(outer=1 + 0.006 * rng.uniform(0.3, 1) * image.shape[0] / spot.size_px) * blade.cover[spot.window]
        )
        image[spot.window] = mix(image[spot.window], rng.uniform(0.5, 1) * np.array((0.5, 0.4, 0.2)), rim * 0.7)
        hole = spot.cover() * blade.cover[spot.window]
        image[spot.window] = mix(image[spot.window], beneath[spot.window], hole)
        holes[spot.window] = np.maximum(holes[spot.window], hole)
    return holes


def specks(rng: np.random.Generator, blade: Blade, image: np.ndarray) -> None:
    """Dust, soil crumbs and pollen: tiny, sharp, of one colour."""
    colours = np.array([(0.16, 0.11, 0.07), (0.36, 0.27, 0.17), (0.75, 0.72, 0.62), (0.05, 0.05, 0.05)])
    colour = colours[rng.integers(4)]
    for at in _places(rng, blade, _amount(rng, 0.5, 25)):
        spot = Spot(rng, at, rng.uniform(0.0025, 0.006), image.shape[0], wobble=0.25, oval=0.9)
        image[spot.window] = mix(
            image[spot.window], colour * rng.uniform(0.7, 1.2), spot.cover() * rng.uniform(0.4, 0.95)
        )


def insects(rng: np.random.Generator, blade: Blade, image: np.ndarray) -> None:
    """Aphids and flies: dark or green ovals, larger than dust, with a gleam."""
    colour = np.array([(0.06, 0.05, 0.05), (0.36, 0.45, 0.16), (0.30, 0.09, 0.05)])[rng.integers(3)]
    for at in _places(rng, blade, _amount(rng, 0.2, 3)):
        size = rng.uniform(0.009, 0.018)
        body = Spot(rng, at, size, image.shape[0], wobble=0.03, oval=1.2)
        image[body.window] *= 1 - 0.35 * (1 - soft_step(0.8, 1.6, body.radius))[..., None]
        image[body.window] = mix(image[body.window], colour, body.cover() * 0.95)
        gleam = Spot(rng, (at[0] - size * 0.3, at[1] - size * 0.2), size * 0.3, image.shape[0])
        image[gleam.window] = mix(image[gleam.window], (0.7, 0.7, 0.65), gleam.cover() * 0.6)


def drops(rng: np.random.Generator, blade: Blade, image: np.ndarray, towards: tuple[float, float]) -> None:
    """Water: darker towards the light, bright on the far side, a highlight and a small shadow."""
    for at in _places(rng, blade, _amount(rng, 0.25, 7)):
        size = rng.uniform(0.008, 0.03)
        spot = Spot(rng, at, size, image.shape[0], wobble=0.06, oval=0.25, reach=1.5)
        tilt = np.cos(spot.angle - rng.uniform(0, 0.5)) * np.minimum(spot.radius, 1)
        image[spot.window] *= 1 - 0.3 * (1 - soft_step(0.85, 1.35, spot.radius))[..., None]
        inside = spot.cover()[..., None]
        image[spot.window] = image[spot.window] * (1 + inside * (0.35 + 0.35 * tilt[..., None])) + 0.03 * inside
        gleam = Spot(
            rng, (at[0] + towards[0] * size * 0.45, at[1] + towards[1] * size * 0.45), size * 0.24, image.shape[0]
        )
        image[gleam.window] = mix(image[gleam.window], (0.97, 0.97, 0.97), gleam.cover() * 0.85)
