"""A plate of metal as it comes from the mill: alloy, finish, and how the light lies on it. None of it knows the label."""

from dataclasses import dataclass, field

import numpy as np
from PIL import Image
from scipy.spatial import cKDTree

from vision.data.synthetic.texture import blend, enlarge, fractal, grid

ALLOYS = np.array([(0.50, 0.51, 0.53), (0.62, 0.63, 0.65), (0.36, 0.38, 0.41), (0.58, 0.50, 0.36), (0.53, 0.42, 0.37)])


@dataclass
class Plate:
    """A plate under the tool. image: float32 [S, S, 3], its own colour; height: float32 [S, S] in pixels, for the light;
    taken: bool [S, S], where nothing more is put; marks: uint8 [S, S], 0 or the number of the defect there."""

    image: np.ndarray
    turn: float
    """Direction of the finish, radians from the x axis."""
    height: np.ndarray = field(init=False)
    taken: np.ndarray = field(init=False)
    marks: np.ndarray = field(init=False)
    metal: np.ndarray = field(init=False)
    """Its mean colour, float32 [3]."""

    def __post_init__(self) -> None:
        shape = self.image.shape[:2]
        self.height = np.zeros(shape, np.float32)
        self.taken = np.zeros(shape, bool)
        self.marks = np.zeros(shape, np.uint8)
        self.metal = self.image.mean(axis=(0, 1))

    @property
    def side_px(self) -> int:
        return self.image.shape[0]


def turned(rng: np.random.Generator, side_px: int, turn: float, cells: float, stretch: float) -> np.ndarray:
    """Noise stretched along the direction `turn`, mean about 0 and deviation about 1, float32 [S, S]."""
    wide = int(side_px * 1.45) + 1
    noise = Image.fromarray(fractal(rng, wide, cells * 1.45, 3, stretch))
    noise = noise.rotate(np.degrees(turn), Image.Resampling.BILINEAR)
    low = (wide - side_px) // 2
    return np.asarray(noise)[low : low + side_px, low : low + side_px]


def brushed(rng: np.random.Generator, side_px: int, turn: float) -> np.ndarray:
    """Fine straight lines of an abrasive belt."""
    fine = turned(rng, side_px, turn, rng.uniform(50, 95), rng.uniform(25, 60))
    return rng.uniform(0.05, 0.11) * fine + 0.03 * turned(rng, side_px, turn, 8, 20)


def rolled(rng: np.random.Generator, side_px: int, turn: float) -> np.ndarray:
    """Soft broad bands of the roll, with scale in them."""
    scale = fractal(rng, side_px, rng.uniform(14, 30), 4)
    return rng.uniform(0.04, 0.08) * turned(rng, side_px, turn, 12, 9) + rng.uniform(0.03, 0.06) * scale


def blasted(rng: np.random.Generator, side_px: int, turn: float) -> np.ndarray:
    """An even fine grain, as after sand or shot."""
    return rng.uniform(0.05, 0.10) * fractal(rng, side_px, rng.uniform(45, 80), 2)


def faced(rng: np.random.Generator, side_px: int, turn: float) -> np.ndarray:
    """Arcs of a turning or milling tool around a centre outside the picture."""
    y, x = grid(side_px)
    away = rng.uniform(0.6, 1.6)
    radius = np.hypot(y - away * np.sin(turn), x - away * np.cos(turn))
    groove = enlarge(rng.standard_normal((1, int(rng.uniform(90, 190))), dtype=np.float32), 1024)[0]
    lines = np.interp(radius, np.linspace(0, 2.6, groove.size), groove)
    return (rng.uniform(0.05, 0.10) * lines + 0.03 * fractal(rng, side_px, 60, 1)).astype(np.float32)


def spangled(rng: np.random.Generator, side_px: int, turn: float) -> np.ndarray:
    """Crystals of hot-dip zinc, each with a tone of its own."""
    count = int(rng.uniform(40, 130))
    seeds, tones = rng.uniform(-0.55, 0.55, (count, 2)), rng.normal(0, 1, count)
    y, x = grid(side_px)
    bend = 0.012 * fractal(rng, side_px, 14, 2)
    _, owner = cKDTree(seeds).query(np.stack([(y + bend).ravel(), (x - bend).ravel()], axis=1))
    cells = tones[owner].reshape(side_px, side_px).astype(np.float32)
    return rng.uniform(0.05, 0.10) * cells + 0.03 * fractal(rng, side_px, 70, 1)


FINISHES = (brushed, rolled, blasted, faced, spangled)


def draw_plate(rng: np.random.Generator, side_px: int) -> Plate:
    """A bare plate, in random colour and finish."""
    turn = rng.uniform(-np.pi / 2, np.pi / 2)
    finish = FINISHES[rng.choice(len(FINISHES), p=[0.36, 0.2, 0.16, 0.16, 0.12])]
    tone = 1 + finish(rng, side_px, turn) + rng.uniform(0.02, 0.06) * fractal(rng, side_px, 2.5, 2)
    colour = blend(rng, ALLOYS, 0.5) * rng.uniform(0.75, 1.15)
    return Plate((colour * np.clip(tone, 0.2, 2)[..., None]).astype(np.float32), turn)
