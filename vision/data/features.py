"""One feature table, four uses: the contract checks it, the split groups by it, the service logs it, drift compares it.

No model is needed, only Pillow and numpy, so that training and serving can't disagree about what an image looks like.
Pixel statistics are taken on a thumbnail of at most `THUMB_PX` a side of the upright RGB image; they are shares or
ratios, so they don't grow with the picture. What they don't know: `sharpness` and `noise` of a large photo are those of
its thumbnail.
"""

import hashlib
import math
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageChops

from vision.preprocess import ImageError, decode_opened, exif_orientation, open_header

FEATURES: tuple[str, ...] = (
    "width_px", "height_px", "aspect", "file_bytes", "brightness", "contrast", "sharpness", "saturation", "warmth",
    "greenness", "entropy", "noise",
)  # fmt: skip
THUMB_PX = 256
BLANK_CONTRAST = 0.012
"""An image whose luma varies less than this (3 of 255) shows nothing: a lens cap, an empty sheet."""
BURNT_SHARE = 0.8
"""An image with more than this share of its luma at 0-1 or at 254-255 has lost what it showed."""

_LEVELS = np.arange(256) / 255.0


def describe(data: bytes, max_megapixels: float = 50.0) -> dict[str, Any]:
    """Of one file: hashes, header, FEATURES. A bad image gives a row with `error`, never an exception."""
    row: dict[str, Any] = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "error": None, "format": None, "mode": None, "exif_orientation": 1, "frames": 0,
        "phash": None, "blank": False, "burnt": False,
        **dict.fromkeys(FEATURES, math.nan),
        "file_bytes": float(len(data)),
    }  # fmt: skip
    try:
        image = open_header(data, max_megapixels)
        row |= {"format": image.format, "mode": image.mode, "frames": getattr(image, "n_frames", 1)}
        row |= describe_image(decode_opened(image), data)
        row["exif_orientation"] = exif_orientation(image)
    except ImageError as error:
        row["error"] = str(error)
    return row


def describe_image(image: Image.Image, data: bytes) -> dict[str, Any]:
    """FEATURES, `blank`, `burnt` and `phash` of a decoded image (RGB, upright) and the bytes it came from.

    - width_px, height_px: upright size. aspect: width / height. file_bytes: bytes of the file.
    - brightness: mean luma, 0..1 (ITU-R 601). contrast: standard deviation of luma, 0..0.5.
    - sharpness: log10(1 + variance of the 4-neighbour Laplacian of luma in grey levels, 0..255) (Pech-Pacheco 2000).
    - saturation: 1 - mean(min of RGB) / mean(max of RGB), 0..1. warmth: mean(R - B), -1..1.
    - greenness: excess green (2G - R - B) / (R + G + B) of the means, -1..2 (Woebbecke 1995).
    - entropy: of the luma histogram, bits, 0..8.
    - noise: standard deviation of the noise in luma, 0..1 (Immerkaer 1996; texture counts as noise too).
    - phash: see `perceptual_hash`; None for a blank image, whose hash would be of noise.
    """
    luma, row = _measured(image, data)
    return {**row, "phash": None if row["blank"] else perceptual_hash(luma)}


def measure_image(image: Image.Image, data: bytes) -> dict[str, float]:
    """FEATURES alone, as `describe_image` gives them: what a server writes down, without the hash that it has no use for."""
    _, row = _measured(image, data)
    return {name: row[name] for name in FEATURES}


def _measured(image: Image.Image, data: bytes) -> tuple[Image.Image, dict[str, Any]]:
    """The thumbnail's luma, and the row less `phash`."""
    width_px, height_px = image.size
    small = image
    if max(image.size) > THUMB_PX:
        scale = THUMB_PX / max(image.size)
        size = (max(3, round(width_px * scale)), max(3, round(height_px * scale)))
        small = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    luma = small.convert("L")
    tones, shares = _tones(luma), _colours(small)
    clipped = tones.pop("clipped")
    return luma, {
        "width_px": float(width_px), "height_px": float(height_px), "aspect": width_px / height_px,
        "file_bytes": float(len(data)),
        **tones, **shares, **_detail(luma),
        "blank": bool(tones["contrast"] < BLANK_CONTRAST), "burnt": bool(clipped > BURNT_SHARE),
    }  # fmt: skip


def perceptual_hash(luma: Image.Image) -> str:
    """64-bit hash as 16 hex digits: the low 8 x 8 of the DCT of the 32 x 32 image, each against their median.

    The same bits as `imagehash.phash`, without the scipy that a server would load for nothing else.
    """
    pixels = np.asarray(luma.resize((32, 32), Image.Resampling.LANCZOS), dtype=np.float64)
    basis = _dct_basis()
    low = basis @ pixels @ basis.T
    return np.packbits(low > np.median(low)).tobytes().hex()


@cache
def _dct_basis() -> np.ndarray:
    """First 8 rows of the unnormalised DCT-II of length 32, float64 [8, 32]."""
    rows, columns = np.arange(8)[:, None], np.arange(32)[None, :]
    return 2 * np.cos(np.pi * rows * (2 * columns + 1) / 64)


def _tones(luma: Image.Image) -> dict[str, float]:
    """What the luma histogram says, so that no pixel is touched twice."""
    share = np.array(luma.histogram()) / (luma.width * luma.height)
    mean = float(share @ _LEVELS)
    seen = share[share > 0]
    return {
        "brightness": mean,
        "contrast": float(np.sqrt(share @ (_LEVELS - mean) ** 2)),
        "entropy": float(-(seen * np.log2(seen)).sum()) + 0.0,
        "clipped": float(share[:2].sum() + share[254:].sum()),
    }


def _colours(image: Image.Image) -> dict[str, float]:
    bands = image.split()
    red, green, blue = (_mean(band) for band in bands)
    brightest = _mean(ImageChops.lighter(ImageChops.lighter(bands[0], bands[1]), bands[2]))
    darkest = _mean(ImageChops.darker(ImageChops.darker(bands[0], bands[1]), bands[2]))
    return {
        "saturation": 1 - darkest / brightest if brightest else 0.0,
        "warmth": red - blue,
        "greenness": (2 * green - red - blue) / (red + green + blue) if brightest else 0.0,
    }


def _mean(band: Image.Image) -> float:
    """0..1"""
    return float(np.array(band.histogram()) @ _LEVELS) / (band.width * band.height)


def _detail(luma: Image.Image) -> dict[str, float]:
    grey = np.asarray(luma, dtype=np.int16)
    down, across = _second_difference(grey, 0), _second_difference(grey, 1)
    laplacian = (down[:, 1:-1] + across[1:-1]).ravel().astype(np.float32)
    mask = np.abs(_second_difference(down, 1))  # [1 -2 1; -2 4 -2; 1 -2 1], Immerkaer's equation 3
    sigma = math.sqrt(math.pi / 2) / 6 * float(mask.mean(dtype=np.float64)) / 255
    variance = float(laplacian @ laplacian) / laplacian.size - float(laplacian.mean()) ** 2
    return {"sharpness": math.log10(max(variance, 0.0) + 1), "noise": sigma}


def _second_difference(values: np.ndarray, axis: int) -> np.ndarray:
    """v[i-1] - 2 v[i] + v[i+1] along one axis; int16 holds +-4 x 255 with room."""
    return np.diff(values, n=2, axis=axis)
