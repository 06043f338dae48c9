"""Where a model errs, as chapters of its report: the hardest images, slices, what a threshold costs, a map of its answers.

What any kind's evaluation has (`right`, `confidence`, the manifest's columns) is enough for these.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vision.evaluation import calibration
from vision.evaluation.config import EvaluationConfig
from vision.evaluation.galleries import picture_grid
from vision.evaluation.report import Part, Picture, Point, Table
from vision.evaluation.slices import slice_table, weak_slices
from vision.evaluation.style import RIGHT, WRONG, percent, readable
from vision.kinds.base import Evaluation

if TYPE_CHECKING:
    from vision.data.cache import Crops

HARDEST = 15
MOST_WEAK = 10
THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
WANTED = (0.95, 0.99)
"""Accuracies of the answered that a threshold is sought for."""


def error_parts(
    found: Evaluation,
    outputs: Mapping[str, np.ndarray],
    images: "np.ndarray | Crops",
    config: EvaluationConfig,
    folder: Path,
) -> tuple[Part, ...]:
    """images: uint8 [N, S, S, 3], aligned with `found.rows`; only those shown are read. Pictures go to `folder`."""
    parts = (
        _hardest(found.rows, images, folder),
        _slices(found.rows, config),
        _threshold(found.rows, config),
        _map(found.rows, outputs, folder),
    )
    return tuple(part for part in parts if part is not None)


def _hardest(rows: pd.DataFrame, images: "np.ndarray | Crops", folder: Path) -> Part | None:
    if "loss" not in rows:
        return None
    hardest = np.argsort(-rows["loss"].to_numpy(), kind="stable")[:HARDEST]
    shown = rows.iloc[hardest]
    titles = [
        f"loss {row.loss:.2f}\n{readable(row.label)}\n"
        + (f"right at {row.confidence:.2f}" if row.right else f"said {readable(row.answer, 18)}, {row.confidence:.2f}")
        for row in shown.itertuples()
    ]
    colours = [RIGHT if right else WRONG for right in shown["right"]]
    title = f"The {len(shown)} hardest of {len(rows):,} images, by loss"
    path = picture_grid(list(images[hardest]), titles, colours, title, folder / "hardest.png")
    share = shown["loss"].sum() / max(rows["loss"].sum(), 1e-12)
    text = f"These {len(shown)} images carry {percent(share)} of the whole loss. Look for wrong labels here first."
    return Part(title="The hardest images", text=(text,), pictures=(Picture(path=path),))


def _slices(rows: pd.DataFrame, config: EvaluationConfig) -> Part:
    named = slice_table(rows, config.interval, config.slices)
    weak, looked = weak_slices(rows, config.interval)
    points = tuple(
        Point(
            text=f"Where {row.rule}, {percent(row.accuracy)} of {row.images:,} images are right, elsewhere {percent(row.rest_accuracy)}.",
            do="Not by chance. Get more such images, augment towards them, or hold this slice in the gate.",
        )
        for row in weak.head(MOST_WEAK).itertuples()
    )
    text = f"{looked} parts of the images were looked at, by every column of the manifest: "
    text += (
        f"{len(weak)} worse than the rest by more than chance." if len(weak) else "none is worse by more than chance."
    )
    text = text if looked else "There are too few images to look for parts where the model is worse."
    note = f"Intervals: {percent(config.interval)}, over families. Slices overlap; a low score does not say that the column is the cause."
    table = Table(title="The named slices", columns=("slice", "rule", "images", "right", "interval", "elsewhere"),
                  rows=tuple(_slice_row(row) for row in named.itertuples()), note=note)  # fmt: skip
    return Part(title="Slices", text=(text,), points=points, tables=(table,) if len(named) else ())


def _slice_row(row) -> tuple[str, ...]:
    rest = "–" if np.isnan(row.rest_accuracy) else percent(row.rest_accuracy)
    interval = f"{percent(row.low)} to {percent(row.high)}"
    return (row.slice, row.rule, f"{row.images:,}", percent(row.accuracy), interval, rest)


def _threshold(rows: pd.DataFrame, config: EvaluationConfig) -> Part:
    confidence, right = rows["confidence"].to_numpy(), rows["right"].to_numpy(bool)
    asked = sorted({*THRESHOLDS, config.confident_at})
    table = calibration.threshold_table(confidence, right, np.array(asked))
    shown = tuple(_threshold_row(row, config.confident_at) for row in table.itertuples())
    columns = ("threshold", "answered", "right, of the answered", "errors held back", "right answers withheld")
    note = "Confidence is the calibrated probability of the answer. * is this system's `evaluation.confident_at`."
    return Part(
        title="What a threshold costs and saves",
        text=_confidence_words(confidence, right),
        points=tuple(_wanted(confidence, right, wanted) for wanted in WANTED),
        tables=(Table(title="", columns=columns, rows=shown, note=note),),
    )


def _threshold_row(row, confident_at: float) -> tuple[str, ...]:
    name = f"{row.threshold:.2f}{' *' if row.threshold == confident_at else ''}"
    shares = (row.coverage, row.accuracy, row.errors_caught, row.right_withheld)
    return (name, *("–" if np.isnan(share) else percent(share) for share in shares))


def _confidence_words(confidence: np.ndarray, right: np.ndarray) -> tuple[str, ...]:
    if right.all():
        return (
            f"Every answer is right, with a confidence of {confidence.mean():.2f} on average: no threshold can save an error here.",
        )
    means = f"{confidence[right].mean():.2f} for right answers and " if right.any() else ""
    words = f"The confidence is {means}{confidence[~right].mean():.2f} for wrong ones, on average."
    if right.any():
        chance = percent(calibration.separation(confidence, right))
        words += f" A right answer is more confident than a wrong one in {chance} of pairs (50 % would be chance)."
    return (words,)


def _wanted(confidence: np.ndarray, right: np.ndarray, wanted: float) -> Point:
    """The lowest threshold from which on that share of the answered is right, and what it costs."""
    table = calibration.threshold_table(confidence, right)
    enough = (table["accuracy"] >= wanted) | table["accuracy"].isna()
    fits = table[enough[::-1].cummin()[::-1] & table["accuracy"].notna()]
    share = f"{100 * wanted:.0f} %"
    if fits.empty:
        return Point(text=f"No threshold makes {share} of the answers right.", do="A better model must.")
    row = fits.iloc[0]
    if row["threshold"] == 0:
        return Point(text=f"At least {share} of the answers are right without any threshold.")
    unanswered = percent(1 - row["coverage"])
    text = f"From {row['threshold']:.2f} on, at least {share} of the answers are right; {unanswered} of the images get none."
    return Point(text=text, do="Measured on these images: set `evaluation.confident_at` with some room.")


def _map(rows: pd.DataFrame, outputs: Mapping[str, np.ndarray], folder: Path) -> Part | None:
    from vision.exploration import likeness, pictures

    if "embedding" not in outputs or len(rows) < 3:
        return None
    count = min(len(rows), likeness.MOST_IMAGES)
    chosen = np.sort(np.random.default_rng(0).permutation(len(rows))[:count])
    shown, points = rows.iloc[chosen], np.asarray(outputs["embedding"], np.float64)[chosen]
    flat, how = likeness.flat_map(points)
    title = f"What the model sees alike: its embedding, {how} (n = {count:,} images)"
    wrong = ~shown["right"].to_numpy(bool)
    path = pictures.labelled_map(flat, shown["label"], title, folder / "embedding_map.png", wrong)
    text = "Colours are the true labels, rings are wrong answers. A ring deep inside another label's group may be a wrong label."
    return Part(title="A map of the answers", text=(text,), pictures=(Picture(path=path),))
