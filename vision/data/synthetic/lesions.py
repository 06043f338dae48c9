"""Lesions, each disease in its own form, with the exact mask of the tissue they touch.

How much of the leaf is ill is drawn from one distribution for every disease, so that area alone tells nothing. Forms
after the University of Minnesota extension's and the Compendium of Tomato Diseases' descriptions of the symptoms.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from vision.data.synthetic.leaf import Blade, Pose
from vision.data.synthetic.texture import Spot, fractal, mix, soft_step

LesionPainter = Callable[["Tissue", float], None]


@dataclass
class Tissue:
    """A leaf under the brush: image float32 [S, S, 3] and sick float32 [S, S] (0..1) change as lesions are painted."""

    rng: np.random.Generator
    pose: Pose
    blade: Blade
    image: np.ndarray
    sick: np.ndarray = field(init=False)
    leaf_colour: np.ndarray = field(init=False)
    """Mean colour of the living leaf, float32 [3]; lesion colours lean on it."""

    def __post_init__(self) -> None:
        self.sick = np.zeros(self.image.shape[:2], np.float32)
        self.leaf_colour = self.image[self.blade.depth > 0].mean(axis=0)

    @property
    def side_px(self) -> int:
        return self.image.shape[0]

    def lay(self, window: tuple[slice, slice], colour: np.ndarray, share: np.ndarray) -> None:
        """Blends a colour over the leaf inside the window and counts it as sick where it can be seen."""
        share = np.clip(share, 0, 1) * self.blade.cover[window]
        self.image[window] = mix(self.image[window], colour, share)
        self.sick[window] = np.maximum(self.sick[window], share)

    def place(self, margin: float, most: float = 1.0) -> tuple[float, float]:
        """A random point (y, x) of the blade, from margin to most (in leaf lengths) inside the outline."""
        inside = np.flatnonzero((self.blade.depth > margin) & (self.blade.depth < most))
        inside = inside if len(inside) else np.flatnonzero(self.blade.depth > 0)
        row, column = divmod(int(self.rng.choice(inside)), self.side_px)
        return (row + 0.5) / self.side_px - 0.5, (column + 0.5) / self.side_px - 0.5


def lean(tissue: Tissue, colour: tuple[float, float, float], share: float = 0.2) -> np.ndarray:
    """A lesion's colour, a little different each time and leaning on the leaf's own."""
    varied = np.asarray(colour, np.float32) * tissue.rng.normal(1, 0.09) + tissue.rng.normal(0, 0.014, 3)
    return np.clip(varied * (1 - share) + tissue.leaf_colour * share, 0.01, 1).astype(np.float32)


def early_blight(tissue: Tissue, area: float) -> None:
    """Few large brown spots with concentric rings like a target, each in a yellow halo (Alternaria solani)."""
    rng, count = tissue.rng, int(tissue.rng.integers(3, 8))
    sizes = np.clip(np.sqrt(area / count / np.pi) * rng.uniform(0.75, 1.3, count), 0.042, 0.12)
    dark, pale = lean(tissue, (0.17, 0.10, 0.05)), lean(tissue, (0.42, 0.28, 0.13))
    yellow = lean(tissue, (0.70, 0.56, 0.09), 0.15)
    halo, rings = rng.uniform(0.6, 0.95), rng.uniform(0.2, 0.4)
    ragged = fractal(rng, tissue.side_px, 24, 2)
    for size in sizes:
        spot = Spot(rng, tissue.place(0.02), size, tissue.side_px, wobble=0.09, oval=0.35)
        tissue.lay(spot.window, yellow, halo * (1 - soft_step(0.9, 1.55, spot.radius)))
        turns, uneven = np.clip(size / 0.019, 2, 4), ragged[spot.window]
        phase = turns * spot.radius - 0.5 + 0.2 * uneven
        wave = rng.uniform(0.25, 0.5) + rings * np.cos(2 * np.pi * phase) + 0.16 * uneven
        colour = mix(np.broadcast_to(dark, (*wave.shape, 3)), pale, np.clip(wave, 0, 1))
        tissue.lay(spot.window, colour, spot.cover() * 0.96)


def late_blight(tissue: Tissue, area: float) -> None:
    """Two to four big water-soaked blotches without a sharp shape, often from the edge or tip, with a pale margin
    (Phytophthora infestans)."""
    rng, count, side_px = tissue.rng, int(tissue.rng.integers(2, 5)), tissue.side_px
    whole = (slice(None), slice(None))
    ragged, mottle = fractal(rng, side_px, 7, 4), fractal(rng, side_px, 22, 3)
    dark = lean(tissue, (0.05, 0.042, 0.035), 0.12)
    brown = lean(tissue, (0.15, 0.105, 0.07), 0.06)
    margin = lean(tissue, (0.52, 0.55, 0.42), 0.25)
    reach = np.full((side_px, side_px), 9.0, np.float32)
    for size in np.sqrt(area * rng.dirichlet(np.full(count, 4.0)) / np.pi):
        at = tissue.place(0.0, rng.choice([0.03, 1.0], p=[0.6, 0.4]))
        spot = Spot(rng, at, max(size, 0.06), side_px, wobble=0.25, oval=0.8, reach=4)
        reach[spot.window] = np.minimum(reach[spot.window], spot.radius)
    reach = np.maximum(reach + 0.2 * ragged, 0)
    on_leaf = reach[tissue.blade.depth > 0]
    reach = reach / np.quantile(on_leaf, min(area * side_px**2 / on_leaf.size, 0.6))
    tissue.lay(whole, margin, rng.uniform(0.45, 0.8) * (1 - soft_step(1.05, 1.4, reach)))
    dead = np.clip(0.5 + 0.45 * mottle + rng.uniform(-0.45, 0.35) - 0.5 * (reach - 0.6), 0, 1)
    colour = mix(np.broadcast_to(dark, (*dead.shape, 3)), brown, dead) * (1 - 0.35 * tissue.blade.vein[..., None])
    tissue.lay(whole, colour, rng.uniform(0.86, 0.97) * (1 - soft_step(0.88, 1.08, reach)))


def septoria_leaf_spot(tissue: Tissue, area: float) -> None:
    """Many small round spots, grey or tan inside a dark border (Septoria lycopersici)."""
    rng, size = tissue.rng, tissue.rng.uniform(0.0155, 0.0225)
    count = int(np.clip(area / (np.pi * (size * 1.15) ** 2), 16, 90))
    border, centre = lean(tissue, (0.15, 0.09, 0.05), 0.1), lean(tissue, (0.68, 0.62, 0.50), 0.03)
    yellow, halo = lean(tissue, (0.55, 0.52, 0.14), 0.4), rng.uniform(0.0, 0.3)
    for _ in range(count):
        radius = size * rng.lognormal(0, 0.2)
        spot = Spot(rng, tissue.place(0.01), radius, tissue.side_px, wobble=0.05, oval=0.2, reach=2.0)
        tissue.lay(spot.window, yellow, halo * (1 - soft_step(0.9, 1.8, spot.radius)))
        tissue.lay(spot.window, border, spot.cover() * 0.93)
        tissue.lay(spot.window, centre * rng.uniform(0.8, 1.1), spot.cover(outer=rng.uniform(0.52, 0.66)) * 0.95)


def leaf_mold(tissue: Tissue, area: float) -> None:
    """Pale yellow patches with no border, some with olive felt in the middle (Passalora fulva). Never in training."""
    rng, count = tissue.rng, int(tissue.rng.integers(4, 10))
    yellow, felt = lean(tissue, (0.62, 0.60, 0.20), 0.15), lean(tissue, (0.33, 0.31, 0.14), 0.1)
    ragged = fractal(rng, tissue.side_px, 12, 3)
    for size in np.sqrt(area / count / np.pi) * rng.uniform(0.8, 1.5, count):
        spot = Spot(rng, tissue.place(0.02), float(np.clip(size, 0.03, 0.09)), tissue.side_px, wobble=0.2, oval=0.6)
        radius = spot.radius + 0.15 * ragged[spot.window]
        tissue.lay(spot.window, yellow, 0.85 * (1 - soft_step(0.4, 1.25, radius)))
        tissue.lay(spot.window, felt, rng.uniform(0.1, 0.75) * (1 - soft_step(0.2, 0.7, radius)))


PAINTERS: dict[str, LesionPainter | None] = {
    "early_blight": early_blight,
    "healthy": None,
    "late_blight": late_blight,
    "leaf_mold": leaf_mold,
    "septoria_leaf_spot": septoria_leaf_spot,
}


def paint_lesions(label: str, rng: np.random.Generator, leaf: tuple[Pose, Blade], image: np.ndarray) -> np.ndarray:
    """Paints the lesions of `label` on the leaf's tissue, in place; returns what is sick, float32 [S, S] in 0..1."""
    painter = PAINTERS[label]
    if painter is None:
        return np.zeros(image.shape[:2], np.float32)
    tissue = Tissue(rng, *leaf, image)
    share = np.exp(rng.uniform(np.log(0.15), np.log(0.32)))
    painter(tissue, float(share * (tissue.blade.depth > 0).mean()))
    return tissue.sick
