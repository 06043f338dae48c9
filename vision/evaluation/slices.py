"""How the model does on parts of the test images: the darkest, the smallest, one camera mode, one group.

A slice is cut by one column of the manifest, so what counts as dark depends on the data set. Slices overlap, and a low
score on one does not say that its column is the cause.
"""

from collections.abc import Iterator, Mapping
from typing import get_args

import numpy as np
import pandas as pd

from vision.evaluation.config import SLICES, Column, SliceConfig
from vision.evaluation.resampling import effective_count, holm, wilson

COLUMNS = tuple(name for name in get_args(Column) if name != "pixels")
MARK = "slice:"
MOST_VALUES = 40
"""Values of a text column up to which each is a slice of its own in a scan."""
LEAST_IMAGES = 10
"""A scan leaves out smaller slices."""
NUMBERS = ("width_px", "height_px", "aspect", "file_bytes", "brightness", "contrast", "sharpness", "saturation", "warmth",
           "greenness", "entropy", "noise", "pixels")  # fmt: skip
TABLE = ("slice", "rule", "images", "accuracy", "low", "high", "rest_accuracy")


def members(rows: pd.DataFrame, cut: SliceConfig) -> tuple[np.ndarray, str]:
    """bool [N] and the rule in words. No image is in a slice whose column is missing or the same everywhere."""
    if cut.equals is not None:
        values = rows[cut.column].astype(str).str.lower() if cut.column in rows else pd.Series("", index=rows.index)
        return (values == cut.equals.lower()).to_numpy(), f"{cut.column} = {cut.equals}"
    values, share = _numbers(rows, cut.column), cut.lowest or cut.highest
    if not np.isfinite(values).any():
        return np.zeros(len(rows), bool), f"no {cut.column}"
    if cut.highest is not None:
        inside, edge = _lowest(-values, cut.highest)
        return inside, f"{cut.column} ≥ {-edge:,.4g}"
    if share is not None:
        inside, edge = _lowest(values, share)
        return inside, f"{cut.column} ≤ {edge:,.4g}"
    below = cut.below is not None
    inside = values < cut.below if below else values > cut.above
    return inside, f"{cut.column} {'<' if below else '>'} {cut.below if below else cut.above:g}"


def _lowest(values: np.ndarray, share: float) -> tuple[np.ndarray, float]:
    """Those up to the quantile; without the quantile's own value where that is half the images."""
    edge = float(np.nanquantile(values, share))
    inside = values <= edge
    return (inside if inside.mean() <= 2 * share else values < edge), edge


def _numbers(rows: pd.DataFrame, column: str) -> np.ndarray:
    if column == "pixels" and {"width_px", "height_px"} <= set(rows.columns):
        return (rows["width_px"] * rows["height_px"]).to_numpy(float)
    return (
        pd.to_numeric(rows[column], errors="coerce").to_numpy(float) if column in rows else np.full(len(rows), np.nan)
    )


def mark(rows: pd.DataFrame, slices: Mapping[str, SliceConfig]) -> pd.DataFrame:
    """`rows` with a bool column `slice:<name>` for each."""
    return rows.assign(**{f"{MARK}{name}": members(rows, cut)[0] for name, cut in slices.items()})


def slice_table(rows: pd.DataFrame, level: float = 0.95, slices: Mapping[str, SliceConfig] = SLICES) -> pd.DataFrame:
    """One row a slice that has an image: TABLE.

    rows: `right` (bool), `family` and columns of the manifest. Intervals are Wilson's over the effective number of
    families.
    """
    found = []
    for name, cut in slices.items():
        inside, rule = members(rows, cut)
        if inside.any():
            found.append({"slice": name, "rule": rule, **_figures(rows, inside, level)})
    return pd.DataFrame(found, columns=list(TABLE))


def weak_slices(rows: pd.DataFrame, level: float = 0.95) -> tuple[pd.DataFrame, int]:
    """Of every slice that any column gives, those where the model does worse than elsewhere and not by chance, and how
    many were looked at.

    By Fisher's exact test against the rest, one-sided, with Holm's correction for looking so often; families of several
    images count as their effective number.
    """
    found = [(cut, *members(rows, cut)) for cut in _every_cut(rows)]
    found = [one for one in found if LEAST_IMAGES <= one[1].sum() < len(rows)]
    if not found:
        return pd.DataFrame(columns=list(TABLE)), 0
    worse = holm(np.array([_worse_p(rows, inside) for _, inside, _ in found])) <= 1 - level
    table = [
        {"slice": cut.column, "rule": rule, **_figures(rows, inside, level)}
        for (cut, inside, rule), proven in zip(found, worse, strict=True)
        if proven
    ]
    return pd.DataFrame(table, columns=list(TABLE)).sort_values("accuracy", ignore_index=True), len(found)


def _worse_p(rows: pd.DataFrame, inside: np.ndarray) -> float:
    """One-sided p of as many errors inside, were they spread evenly."""
    from scipy.stats import fisher_exact

    families, right = rows["family"].to_numpy(), rows["right"].to_numpy(bool)
    table = []
    for part in (inside, ~inside):
        count = effective_count(families[part])
        wrong = round(count * (1 - right[part].mean()))
        table.append([wrong, max(0, round(count) - wrong)])
    return float(fisher_exact(table, alternative="greater").pvalue)


def _every_cut(rows: pd.DataFrame) -> Iterator[SliceConfig]:
    for column in get_args(Column):
        if column in NUMBERS:
            yield SliceConfig(column=column, lowest=0.2)
            yield SliceConfig(column=column, highest=0.2)
        elif column in rows and 1 < rows[column].nunique() <= MOST_VALUES:
            for value in sorted(rows[column].dropna().astype(str).unique()):
                yield SliceConfig(column=column, equals=value)


def _figures(rows: pd.DataFrame, inside: np.ndarray, level: float) -> dict[str, float]:
    right = rows["right"].to_numpy(bool)
    accuracy = float(right[inside].mean())
    low, high = wilson(accuracy, effective_count(rows["family"].to_numpy()[inside]), level)
    rest = float(right[~inside].mean()) if (~inside).any() else float("nan")
    return {"images": int(inside.sum()), "accuracy": accuracy, "low": low, "high": high, "rest_accuracy": rest}
