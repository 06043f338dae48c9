"""The healthy leaf: outline, veins, relief and colour of tomato leaflets, before any light or lesion.

A leaflet lives in its own coordinates: u runs along the midrib from base (0) to tip (1), v across it. The line of a
side vein is u - slant * |v| = t with t constant, and the half-width of the blade is a function of t: lobes and teeth
then point forwards and each lobe carries a vein, as in a real leaf.
"""

from dataclasses import dataclass

import numpy as np

from vision.data.synthetic.texture import blend, enlarge, fractal, grid, mix, soft_step

# Dark, fresh, yellow, grey and blue green; the last two are rare but real.
GREENS = np.array([(0.10, 0.21, 0.08), (0.21, 0.37, 0.11), (0.40, 0.47, 0.16), (0.31, 0.40, 0.27), (0.14, 0.30, 0.20)])
TABLE = np.linspace(-0.3, 1.3, 641, dtype=np.float32)


@dataclass(frozen=True)
class Pose:
    """Where a leaflet lies: middle (y, x) and length in sides of the image, angle in radians, squash across, bend."""

    y: float
    x: float
    angle: float
    length: float
    squash: float = 1.0
    bend: float = 0.0

    def at(self, u: float, v: float) -> tuple[float, float]:
        """(y, x) in the image of a point of the leaflet; the inverse of `coordinates`."""
        along = (u - 0.5) * self.length
        across = (v + self.bend * (u - 0.5) ** 2) * self.length * self.squash
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return self.y + sin * along + cos * across, self.x + cos * along - sin * across


@dataclass(frozen=True)
class Blade:
    """A drawn leaflet; every field is float32 [S, S].

    cover: 0..1. depth: how far inside the outline, in leaf lengths (negative outside). u, v: leaf coordinates.
    vein: 0..1. relief: height, in arbitrary units.
    """

    cover: np.ndarray
    depth: np.ndarray
    u: np.ndarray
    v: np.ndarray
    vein: np.ndarray
    relief: np.ndarray


def coordinates(pose: Pose, side_px: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = grid(side_px)
    dy, dx = y - np.float32(pose.y), x - np.float32(pose.x)
    cos, sin = np.float32(np.cos(pose.angle)), np.float32(np.sin(pose.angle))
    u = (cos * dx + sin * dy) / np.float32(pose.length) + np.float32(0.5)
    v = (cos * dy - sin * dx) / np.float32(pose.length * pose.squash) - np.float32(pose.bend) * (u - 0.5) ** 2
    return u, v


def outline(rng: np.random.Generator, lobes: float, lobe_depth: float, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Half-width of one side of the blade and closeness to its veins (0..1), both over TABLE (values of t)."""
    base, tip = rng.uniform(0.25, 0.55), rng.uniform(0.8, 1.25)
    inside = np.clip(TABLE, 1e-4, 1)
    body = inside**base * np.clip(1 - inside, 0, 1) ** tip
    phase = TABLE * lobes + rng.uniform(-0.15, 0.15) + 0.05 * np.sin(TABLE * rng.uniform(5, 11) + rng.uniform(0, 6))
    near = np.abs((phase + 0.5) % 1 - 0.5) * 2
    lobe = 1 - lobe_depth * near ** rng.uniform(1.2, 2.2) * soft_step(-0.05, 0.12, TABLE) * (1.1 - 0.7 * inside)
    teeth = 1 + rng.uniform(0.0, 0.09) * (np.abs((phase * rng.uniform(2.4, 3.4)) % 1 - 0.4) - 0.3)
    ragged = np.interp(TABLE, np.linspace(-0.3, 1.3, 60), rng.normal(1, 0.018, 60))
    half_width = width * body / body.max() * lobe * teeth * ragged
    half_width = np.where(TABLE < 0, TABLE, np.where(TABLE > 1, 1 - TABLE, half_width))
    return half_width.astype(np.float32), (1 - near).astype(np.float32)


def draw_blade(rng: np.random.Generator, pose: Pose, side_px: int) -> Blade:
    """One leaflet: from nearly smooth and oval to deeply lobed."""
    u, v = coordinates(pose, side_px)
    lobes, width = rng.uniform(3.6, 7.2), rng.uniform(0.26, 0.40)
    lobe_depth = rng.choice([rng.uniform(0.03, 0.15), rng.uniform(0.15, 0.42)])
    left = outline(rng, lobes, lobe_depth, width * rng.uniform(0.88, 1.08))
    right = outline(rng, lobes, lobe_depth, width * rng.uniform(0.88, 1.08))
    slant_base, slant_tip = rng.uniform(-0.1, 0.25), rng.uniform(0.5, 0.85)
    away = np.abs(v)
    t = u - away * (slant_base + (slant_tip - slant_base) * np.clip(u, 0, 1))
    place = (t - TABLE[0]) * np.float32(1 / (TABLE[1] - TABLE[0]))
    nearest = np.clip(np.rint(place * 1), 0, len(TABLE) - 1).astype(np.int32)
    low = np.clip(place.astype(np.int32), 0, len(TABLE) - 2)
    part = np.clip(place - low, -50, 50)
    table = np.where(
        v > 0,
        right[0][low] * (1 - part) + right[0][low + 1] * part,
        left[0][low] * (1 - part) + left[0][low + 1] * part,
    )
    depth = table - away
    slope = np.hypot(*np.gradient(depth)) + 1e-6
    cover = np.clip(0.5 + depth / slope, 0, 1) * (t > -0.2)
    closeness = np.where(v > 0, right[1][nearest], left[1][nearest])
    vein, relief = _veins(rng, (u, v, depth), closeness, pose.length * side_px / lobes)
    return Blade(cover, depth, u, v, vein, relief)


def _veins(rng, field, closeness: np.ndarray, spacing_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Midrib and side veins (0..1), and the height of the tissue that bulges between them."""
    u, v, depth = field
    away, inside = np.abs(v), soft_step(0.0, 0.06, depth)
    midrib_width = np.clip(0.016 * (1.15 - u), 0.003, 0.02) * rng.uniform(0.7, 1.3)
    pixel = 1 / (spacing_px * 5)
    midrib = np.clip(1.2 - away / (midrib_width + pixel * 0.7), 0, 1) * (u > -0.02) * (u < 0.97)
    side_width = rng.uniform(0.9, 1.5) / spacing_px * 2
    side = np.clip((closeness - (1 - side_width)) / side_width, 0, 1) * inside * np.clip(1.1 - 2.4 * away, 0.2, 1)
    between = np.sqrt(np.clip(1 - closeness, 0, 1)) * inside
    fold = -np.clip(away * rng.uniform(-1, 2.5), -1, 1)
    relief = between * rng.uniform(0.3, 1.0) + fold - 0.5 * np.clip(1 - away / 0.03, 0, 1)
    return np.maximum(midrib, side * rng.uniform(0.4, 0.9)), relief


def petiole(rng: np.random.Generator, pose: Pose, side_px: int) -> np.ndarray:
    """Cover of the stalk behind the base, float32 [S, S]."""
    u, v = coordinates(pose, side_px)
    length, curl = rng.uniform(0.12, 0.4), rng.normal(0, 0.9)
    away = np.abs(v - curl * np.clip(-u, 0, 1) ** 2)
    width = 0.011 + 0.012 * np.clip(-u / length, 0, 1)
    return np.clip((width - away) * pose.length * side_px + 0.5, 0, 1) * (u < 0.03) * (u > -length)


def draw_leaf_shape(rng: np.random.Generator, side_px: int) -> tuple[Pose, Blade, np.ndarray]:
    """The main leaflet with its pose, and the cover of all that belongs to it: stalk and small side leaflets too."""
    pose = Pose(
        *rng.normal(0, 0.03, 2), rng.uniform(-np.pi, np.pi), rng.uniform(0.78, 1.02), rng.uniform(0.9, 1.3),
        rng.normal(0, 0.22),
    )  # fmt: skip
    blade = draw_blade(rng, pose, side_px)
    rest = petiole(rng, pose, side_px)
    for hand in (-1, 1):
        if rng.random() < 0.3:
            angle = pose.angle + hand * rng.uniform(0.7, 1.5)
            length = pose.length * rng.uniform(0.2, 0.38)
            y, x = pose.at(rng.uniform(-0.22, -0.05), 0.0)
            place = Pose(y + np.sin(angle) * length / 2, x + np.cos(angle) * length / 2, angle, length)
            rest = np.maximum(rest, draw_blade(rng, place, side_px).cover)
    return pose, blade, rest


def colour_tissue(rng: np.random.Generator, blade: Blade, side_px: int) -> np.ndarray:
    """Colour of the living leaf, float32 [S, S, 3]: a mixture of greens, mottled, yellowing, with paler veins."""
    base = blend(rng, GREENS, 0.7) * rng.uniform(0.85, 1.25)
    cloud, fine = fractal(rng, side_px, 3, 3), fractal(rng, side_px, 28, 3)
    tone = 1 + rng.uniform(0.03, 0.13) * cloud + rng.uniform(0.03, 0.12) * fine
    image = base * tone[..., None]
    yellow = base * (1.7, 1.35, 0.8) + (0.12, 0.08, 0.0)
    where = rng.choice([blade.u, 1 - blade.u, 1 - 3 * np.clip(blade.depth, 0, 0.33), 0.5 + 0.2 * cloud])
    strength = rng.choice([0.0, rng.uniform(0.1, 0.3), rng.uniform(0.3, 0.6)], p=[0.5, 0.3, 0.2])
    border = rng.uniform(0.3, 0.7)
    image = mix(image, yellow, strength * soft_step(border, border + 0.4, where + 0.1 * cloud))
    vein = np.clip(base * rng.uniform(1.25, 1.7) + rng.uniform(0.0, 0.09), 0, 0.8)
    image = mix(image, vein, blade.vein * rng.uniform(0.3, 0.85))
    return np.clip(image, 0.01, 1)


def relief_of(rng: np.random.Generator, blade: Blade, side_px: int) -> np.ndarray:
    """Slopes that light can fall on: the blade's own relief, with waves and fine wrinkles; float32 [2, S, S]."""
    waves = enlarge(rng.standard_normal((5, 5), np.float32), side_px) * rng.uniform(0.3, 1.6)
    wrinkles = fractal(rng, side_px, 18, 3) * rng.uniform(0.01, 0.07)
    height = blade.relief * rng.uniform(0.5, 1.2) + waves + wrinkles
    return np.stack(np.gradient(height)) * (side_px / 9)
