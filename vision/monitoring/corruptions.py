"""The one drift simulator: seven things that happen to cameras and pipelines, at severities 1 to 5 of a fixed grid.

After Hendrycks & Dietterich 2019 (arXiv:1903.12261), less its torchvision and ImageMagick. Severity is a number of this
grid and not a measure: the same severity costs one model nothing and another everything.
"""

import io
import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

SEVERITIES: dict[str, tuple[float, float, float, float, float]] = {
    "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
    "blur": (1.0, 2.0, 3.0, 4.0, 6.0),
    "noise": (0.04, 0.08, 0.12, 0.18, 0.26),
    "jpeg": (25, 18, 15, 10, 7),
    "colour_cast": (0.1, 0.2, 0.3, 0.4, 0.5),
    "rotation": (5, 10, 20, 30, 45),
}
"""What severities 1 to 5 mean to each function below. Never change a number: drift is compared across versions."""
BLUR_SIDE_PX = 224


def corrupt(image: np.ndarray, name: str, severity: int, seed: int | np.random.Generator = 0) -> np.ndarray:
    """uint8 [H, W, 3] -> a new uint8 [H, W, 3]. Only noise and the side of a rotation hang on the seed.

    Raises `KeyError` for a name not in CORRUPTIONS, `ValueError` for another severity than 1 to 5 or another array.
    """
    if severity not in range(1, 6):
        raise ValueError(f"severity {severity}, 1 to 5 are allowed")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"an image of {image.dtype} {image.shape}, uint8 [H, W, 3] is allowed")
    amount = SEVERITIES[name][severity - 1]
    return CORRUPTIONS[name](image, amount, np.random.default_rng(seed))


def brightness(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Overexposure: `amount` (0..1) is added to the V of HSV; hue and saturation stay."""
    scaled = image / 255.0
    value = scaled.max(axis=2, keepdims=True)
    # Black has no hue to keep: it becomes grey.
    hue = np.divide(scaled, value, out=np.ones_like(scaled), where=value > 0)
    return _to_uint8(hue * np.clip(value + amount, 0, 1))


def contrast(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Haze: distances from the mean of each channel shrink to `amount` of what they were."""
    scaled = image / 255.0
    mean = scaled.mean(axis=(0, 1))
    return _to_uint8((scaled - mean) * amount + mean)


def blur(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Out of focus: a Gaussian of `amount` px for an image whose short side is 224 px, and in proportion for others."""
    sigma_px = amount * min(image.shape[:2]) / BLUR_SIDE_PX
    return np.array(Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma_px)))


def noise(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Sensor noise: independent normal noise of standard deviation `amount` (of 0..1) on each value."""
    return _to_uint8(image / 255.0 + amount * rng.standard_normal(image.shape, dtype=np.float32))


def jpeg(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Compressed once more on the way, at quality `amount`."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=int(amount))
    return np.array(Image.open(stream))


def colour_cast(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Wrong white balance, too warm: red gains the share `amount`, blue loses it (von Kries)."""
    return _to_uint8(image / 255.0 * np.array([1 + amount, 1, 1 - amount]))


def rotation(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """A camera held askew: `amount` degrees to either side; the corners are filled by the mirrored image."""
    angle = amount if rng.random() < 0.5 else -amount
    height, width = image.shape[:2]
    turn = math.radians(amount)
    # Half of what the turned frame's bounding box is larger than the frame.
    across = math.ceil((width * math.cos(turn) + height * math.sin(turn) - width) / 2) + 2
    down = math.ceil((width * math.sin(turn) + height * math.cos(turn) - height) / 2) + 2
    across, down = max(across, 2), max(down, 2)
    padded = Image.fromarray(np.pad(image, ((down, down), (across, across), (0, 0)), mode="symmetric"))
    turned = padded.rotate(angle, Image.Resampling.BILINEAR)
    return np.array(turned.crop((across, down, across + width, down + height)))


def _to_uint8(scaled: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)


CORRUPTIONS: dict[str, Callable[[np.ndarray, float, np.random.Generator], np.ndarray]] = {
    "brightness": brightness,
    "contrast": contrast,
    "blur": blur,
    "noise": noise,
    "jpeg": jpeg,
    "colour_cast": colour_cast,
    "rotation": rotation,
}
