"""What is taken for what, with pictures: the confused pairs of a classifier, beside images that were answered right."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vision.evaluation.galleries import picture_grid
from vision.evaluation.metrics import confused_pairs
from vision.evaluation.report import Part, Picture, Table
from vision.evaluation.resampling import effective_count, wilson
from vision.evaluation.style import RIGHT, WRONG, percent, readable

if TYPE_CHECKING:
    from vision.data.cache import Crops

MOST_PAIRS, EACH, LISTED = 4, 3, 10


def confused_part(
    rows: pd.DataFrame, confusion: np.ndarray, labels: tuple[str, ...], images: "np.ndarray | Crops", folder: Path
) -> Part:
    """rows: label, answer, confidence, right, family; images uint8 [N, S, S, 3] of the same rows. confusion: [K, K]."""
    pairs, errors = confused_pairs(confusion, labels), int((~rows["right"].astype(bool)).sum())
    title = "What is taken for what"
    if not errors:
        return Part(title=title, text=(f"No error in {len(rows):,} images.",))
    listed = tuple(_row(pair, rows) for pair in pairs.head(LISTED).itertuples())
    most = pairs.head(MOST_PAIRS)["images"].sum()
    first = min(MOST_PAIRS, len(pairs))
    text = f"{errors:,} errors in {len(rows):,} images, {percent(most / errors)} of them in the first {first} of {len(pairs)} kinds."
    path = _pictures(pairs.head(MOST_PAIRS), rows, images, folder / "confused_images.png")
    columns = ("is", "was taken for", "images", "share of the class", "interval")
    table = Table(title="", columns=columns, rows=listed, note="Intervals: 95 %, over families.")
    caption = "A line a kind of error: the most confident mistakes, then images of the class and of the answer that were right."
    return Part(title=title, text=(text,), tables=(table,), pictures=(Picture(path=path, caption=caption),))


def _row(pair, rows: pd.DataFrame) -> tuple[str, ...]:
    families = rows.loc[rows["label"] == pair.label, "family"].to_numpy()
    low, high = wilson(pair.share, effective_count(families), 0.95)
    return (pair.label, pair.answer, f"{pair.images:,}", percent(pair.share), f"{percent(low)} to {percent(high)}")


def _pictures(pairs: pd.DataFrame, rows: pd.DataFrame, images: "np.ndarray | Crops", path: Path) -> Path:
    """Lines of EACH mistakes, one right image of the class and one of the answer."""
    chosen: list[int | None] = []
    missing: list[str] = []
    for pair in pairs.itertuples():
        wrong = rows[(rows["label"] == pair.label) & (rows["answer"] == pair.answer)]
        mistakes = list(wrong.sort_values("confidence", ascending=False).index[:EACH])
        missing += [""] * EACH + [f"no image of\n{readable(name)}\nwas right" for name in (pair.label, pair.answer)]
        chosen += [*mistakes, *[None] * (EACH - len(mistakes)), _typical(rows, pair.label), _typical(rows, pair.answer)]
    places = [place for place in chosen if place is not None]
    read = dict(zip(places, images[np.array(places)], strict=True))
    blank = np.full_like(next(iter(read.values())), 255)
    shown = [blank if place is None else read[place] for place in chosen]
    titles = [text if place is None else _title(rows.loc[place]) for place, text in zip(chosen, missing, strict=True)]
    colours = [RIGHT if place is not None and rows.loc[place, "right"] else WRONG for place in chosen]
    return picture_grid(shown, titles, colours, "The confused pairs", path, columns=EACH + 2)


def _typical(rows: pd.DataFrame, label: str) -> int | None:
    """A right answer of middling confidence; None where the class has none."""
    right = rows[(rows["label"] == label) & rows["right"].astype(bool)].sort_values("confidence", kind="stable")
    return None if right.empty else int(right.index[len(right) // 2])


def _title(row: pd.Series) -> str:
    if row["right"]:
        return f"right, {row['confidence']:.2f}\n{readable(row['label'])}"
    return f"{readable(row['label'])}\nsaid {readable(row['answer'])}\n{row['confidence']:.2f}"
