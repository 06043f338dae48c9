"""A heatmap laid over its photograph. numpy and PIL only, so that a server can draw one."""

import numpy as np
from PIL import Image

from vision.package import InputSpec
from vision.preprocess import input_box

# Dark blue, cyan, yellow, red: from "did not matter" to "decided".
STOPS = np.array([[0, 0, 96], [0, 190, 255], [255, 235, 0], [200, 0, 0]], dtype=np.float64)
MAX_OPACITY = 0.6


def overlay(
    image: np.ndarray, heatmap: np.ndarray, opacity: float = MAX_OPACITY, peak: float | None = None
) -> np.ndarray:
    """image uint8 [H, W, 3], heatmap float [h, w] >= 0 -> uint8 [H, W, 3].

    The heatmap is scaled by `peak`, or by its own maximum, and enlarged bilinearly; where it is 0 the photograph stays as
    it is.
    """
    height, width = image.shape[:2]
    peak = float(heatmap.max(initial=0.0)) if peak is None else peak
    scaled = np.asarray(heatmap, dtype=np.float32) / peak if peak > 0 else np.zeros(heatmap.shape, np.float32)
    enlarged = np.asarray(Image.fromarray(scaled).resize((width, height), Image.Resampling.BILINEAR))
    weight = np.clip(enlarged, 0, 1)[..., None]
    mixed = image * (1 - opacity * weight) + _colour(weight[..., 0]) * opacity * weight
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


def overlay_whole(
    image: Image.Image, heatmap: np.ndarray, spec: InputSpec, side_px: int, peak: float | None = None
) -> np.ndarray:
    """The upright photograph, no longer than `side_px`, with the heatmap where the model's input lies in it.

    image: RGB. heatmap: float [h, w] >= 0 over the model's input. uint8 [H, W, 3] of the photograph's shape, so that a
    page can lay it over the photograph.
    """
    small = image.copy()
    small.thumbnail((side_px, side_px))
    left, top, right, bottom = (round(edge) for edge in input_box(small.size, spec))
    heat = Image.fromarray(np.asarray(heatmap, dtype=np.float32)).resize(
        (max(1, right - left), max(1, bottom - top)), Image.Resampling.BILINEAR
    )
    whole = Image.new("F", small.size, 0.0)
    whole.paste(heat, (left, top))
    return overlay(np.asarray(small), np.asarray(whole), peak=peak)


def _colour(values: np.ndarray) -> np.ndarray:
    """values float [H, W] in 0..1 -> RGB float [H, W, 3] in 0..255."""
    places = np.linspace(0, 1, len(STOPS))
    return np.stack([np.interp(values, places, STOPS[:, channel]) for channel in range(3)], axis=-1)
