"""How the model does where images are hard: the darkest, the most blurred, the smallest of the split.

A slice is the lowest share of one feature of the manifest, so what counts as dark depends on the data set. Slices
overlap, and a low score on one does not say that the feature is the cause.
"""

import numpy as np
import pandas as pd

from vision.evaluation.resampling import effective_count, wilson

SLICES = {"dark": "brightness", "blurred": "sharpness", "small": "pixels"}
LOWEST = 0.2
"""Share of the split that makes a slice."""
FEATURES = ("brightness", "sharpness", "width_px", "height_px")


def slice_table(rows: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """One row a slice: slice, feature, below (cut-off), images, accuracy, low, high, rest_accuracy.

    rows: `right` (bool), `family` and manifest features. A slice whose feature is missing or the same everywhere is
    left out. Intervals are Wilson's over the effective number of families.
    """
    found = []
    for name, feature in SLICES.items():
        values = _feature(rows, feature)
        cut = np.nanquantile(values, LOWEST) if np.isfinite(values).any() else np.nan
        inside = values <= cut if (values <= cut).mean() <= 2 * LOWEST else values < cut
        if inside.any():
            found.append({"slice": name, "feature": feature, "below": float(cut), **_figures(rows, inside, level)})
    columns = ["slice", "feature", "below", "images", "accuracy", "low", "high", "rest_accuracy"]
    return pd.DataFrame(found, columns=columns)


def _feature(rows: pd.DataFrame, feature: str) -> np.ndarray:
    if feature == "pixels" and {"width_px", "height_px"} <= set(rows.columns):
        return (rows["width_px"] * rows["height_px"]).to_numpy(float)
    return rows[feature].to_numpy(float) if feature in rows else np.full(len(rows), np.nan)


def _figures(rows: pd.DataFrame, inside: np.ndarray, level: float) -> dict[str, float]:
    right = rows["right"].to_numpy(bool)
    accuracy = float(right[inside].mean())
    low, high = wilson(accuracy, effective_count(rows["family"].to_numpy()[inside]), level)
    rest = float(right[~inside].mean()) if (~inside).any() else float("nan")
    return {"images": int(inside.sum()), "accuracy": accuracy, "low": low, "high": high, "rest_accuracy": rest}
