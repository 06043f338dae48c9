"""Small parts that all drawing shares: random streams, noise, soft steps, colour mixing, round stamps.

Images are float32 [S, S, 3] with light in 0..1 until the camera; fields are float32 [S, S]. Lengths are in sides of the
image (1.0 is the whole width), so a drawing looks the same at every size.
"""

import zlib

import numpy as np
from PIL import Image, ImageFilter


def stream(seed: int, part: str) -> np.random.Generator:
    """A random stream of its own for each part of a picture: drawing more of one part never changes another."""
    return np.random.default_rng([seed, zlib.crc32(part.encode())])


def grid(side_px: int) -> tuple[np.ndarray, np.ndarray]:
    """y and x of the pixel centres, each float32 [S, S] in -0.5..0.5."""
    line = (np.arange(side_px, dtype=np.float32) + 0.5) / side_px - 0.5
    return np.broadcast_to(line[:, None], (side_px, side_px)), np.broadcast_to(line[None, :], (side_px, side_px))


def enlarge(field: np.ndarray, side_px: int) -> np.ndarray:
    """A small field, float32 [h, w], smoothly enlarged to [S, S]."""
    return np.asarray(Image.fromarray(field).resize((side_px, side_px), Image.Resampling.BICUBIC))


def fractal(rng: np.random.Generator, side_px: int, cells: float, octaves: int = 4, stretch: float = 1.0) -> np.ndarray:
    """Fractal value noise, mean 0 and deviation 1: `cells` coarse cells across the image, each octave twice as fine.

    `stretch` above 1 makes the cells longer along x than along y (wood, woven cloth).
    """
    total = np.zeros((side_px, side_px), np.float32)
    for octave in range(octaves):
        count = cells * 2**octave
        rows, columns = (int(np.clip(n, 2, side_px)) + 1 for n in (count, count / stretch))
        total += enlarge(rng.standard_normal((rows, columns), np.float32), side_px) * 0.55**octave
    total -= total.mean()
    return total / (total.std() + 1e-6)


def soft_step(low: float, high: float, field: np.ndarray) -> np.ndarray:
    """0 at or below low, 1 at or above high, smooth between (Hermite)."""
    share = np.clip((field - low) / (high - low), 0, 1)
    return share * share * (3 - 2 * share)


def mix(image: np.ndarray, colour: np.ndarray, share: np.ndarray) -> np.ndarray:
    """image [..., 3] with colour (3 or [..., 3]) laid over it by share [...] in 0..1."""
    return image + (np.asarray(colour, np.float32) - image) * share[..., None]


def blend(rng: np.random.Generator, palette: np.ndarray, evenness: float = 0.6) -> np.ndarray:
    """A random mixture of the palette's colours [k, 3]; small evenness stays near single ones."""
    return (rng.dirichlet(np.full(len(palette), evenness)) @ np.asarray(palette)).astype(np.float32)


def soften(field: np.ndarray, sigma_px: float) -> np.ndarray:
    """A field in 0..1, blurred (8-bit, fast: for shadows and halos)."""
    image = Image.fromarray((np.clip(field, 0, 1) * 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(sigma_px)), np.float32) / 255


def slide(field: np.ndarray, dy_px: int, dx_px: int) -> np.ndarray:
    """The field moved by whole pixels, zeros where it came from."""
    moved = np.zeros_like(field)
    height, width = field.shape
    source_y, source_x = slice(max(-dy_px, 0), height - max(dy_px, 0)), slice(max(-dx_px, 0), width - max(dx_px, 0))
    target_y, target_x = slice(max(dy_px, 0), height + min(dy_px, 0)), slice(max(dx_px, 0), width + min(dx_px, 0))
    moved[target_y, target_x] = field[source_y, source_x]
    return moved


class Spot:
    """One irregular round stamp: the window it touches and, there, how far each pixel lies from its middle.

    window: a pair of slices. radius: float32 [h, w], 0 at the middle and 1 at the outline. angle: float32 [h, w].
    """

    def __init__(self, rng: np.random.Generator, at: tuple[float, float], size: float, side_px: int, **form) -> None:
        """at: (y, x) and size: radius, in sides. form: `wobble` (irregular outline), `oval` (at most this much longer
        than wide), `reach` (the window reaches this many radii)."""
        wobble, oval, reach = form.get("wobble", 0.1), form.get("oval", 0.2), form.get("reach", 1.7)
        centre = (np.asarray(at) + 0.5) * side_px - 0.5
        size_px = size * side_px
        extent = size_px * reach * (1 + oval) + 1.5
        low = np.clip(np.floor(centre - extent), 0, side_px).astype(int)
        high = np.clip(np.ceil(centre + extent) + 1, low, side_px).astype(int)
        self.window = (slice(low[0], high[0]), slice(low[1], high[1]))
        y = np.arange(low[0], high[0], dtype=np.float32)[:, None] - np.float32(centre[0])
        x = np.arange(low[1], high[1], dtype=np.float32)[None, :] - np.float32(centre[1])
        turn, ratio = rng.uniform(0, np.pi), 1 + rng.uniform(0, oval)
        along, across = np.cos(turn) * x + np.sin(turn) * y, (np.cos(turn) * y - np.sin(turn) * x) * ratio
        self.angle = np.arctan2(across, along)
        outline = np.ones_like(self.angle)
        for harmonic, strength in zip((2, 3, 5), wobble * rng.normal(0, (0.7, 0.6, 0.5)), strict=True):
            outline += np.float32(strength) * np.cos(harmonic * self.angle + np.float32(rng.uniform(0, 6.3)))
        self.size_px = size_px
        self.radius = np.hypot(along, across) / (size_px * np.maximum(outline, 0.4))

    def cover(self, inner: float = 0.0, outer: float = 1.0) -> np.ndarray:
        """Anti-aliased cover of the band between two radii; one pixel of softness at each border."""
        soft = 1 / self.size_px
        inside = np.clip((outer - self.radius) / soft + 0.5, 0, 1)
        return inside if inner <= 0 else inside * np.clip((self.radius - inner) / soft + 0.5, 0, 1)
