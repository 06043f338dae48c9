"""Where a detector errs: what it misses, why its other boxes are false, and its worst images."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from vision.data.boxes.geometry import overlaps
from vision.evaluation.box_galleries import boxes_picture
from vision.evaluation.report import Part, Picture, Table
from vision.evaluation.style import percent
from vision.package import Spec

if TYPE_CHECKING:
    from vision.data.cache import Crops

OVERLAP, TOUCH = 0.5, 0.1
CAUSES = {
    "badly placed": "right label, but it overlaps too little",
    "wrong label": "there is something, of another label",
    "twice": "of a thing that has its box already",
    "nothing there": "no thing at this place",
}
"""After TIDE (Bolya et al. 2020)."""
WORST = 12


def targets_of(rows: pd.DataFrame, spec: Spec) -> list[dict[str, np.ndarray]]:
    """Of each row of an evaluation, `boxes` [n, 4] and `labels` [n]."""
    return [
        {"boxes": corners(true), "labels": np.array([spec.labels.index(box["label"]) for box in true], int)}
        for true in rows["true"]
    ]


def corners(boxes: Any) -> np.ndarray:
    return np.array([[box[side] for side in ("x1", "y1", "x2", "y2")] for box in boxes], float).reshape(-1, 4)


def confusion(rows: pd.DataFrame, spec: Spec) -> np.ndarray:
    """int [K + 1, K + 1]: true boxes by what was said of their place, whatever its label; the last row and column: nothing.

    Boxes are paired by overlap (0.5 at least), the surest first.
    """
    nothing = len(spec.labels)
    counts = np.zeros((nothing + 1, nothing + 1), int)
    for true, found in zip(rows["true"], rows["found"], strict=True):
        shared, left = overlaps(corners(found), corners(true)), set(range(len(true)))
        for number, box in enumerate(found):
            best = max(left, key=lambda place, row=number: shared[row, place], default=None)
            hit = best is not None and shared[number, best] >= OVERLAP
            left -= {best} if hit else set()
            counts[spec.labels.index(true[best]["label"]) if hit else nothing, spec.labels.index(box["label"])] += 1
        for place in left:
            counts[spec.labels.index(true[place]["label"]), nothing] += 1
    return counts


def cause(box: Mapping[str, Any], true: Any) -> str:
    """Of a false box, by the true one that it overlaps most."""
    if not len(true):
        return "nothing there"
    shared = overlaps(corners([box]), corners(true))[0]
    same = np.array([one["label"] == box["label"] for one in true])
    if (shared[same] >= OVERLAP).any():
        return "twice"
    if (shared[~same] >= OVERLAP).any():
        return "wrong label"
    return "badly placed" if (shared[same] >= TOUCH).any() else "nothing there"


def causes_part(rows: pd.DataFrame, spec: Spec) -> Part:
    true, missed = (Counter(box["label"] for boxes in rows[name] for box in boxes) for name in ("true", "missed"))
    false: dict[str, Counter] = {label: Counter() for label in spec.labels}
    for boxes, known in zip(rows["found"], rows["true"], strict=True):
        for box in boxes:
            if not box["right"]:
                false[box["label"]][cause(box, known)] += 1
    lines = tuple(
        (label, str(true[label]), str(missed[label]), *(str(false[label][name]) for name in CAUSES))
        for label in spec.labels
    )
    wrong = sum(counts.total() for counts in false.values())
    text = (
        f"Of {true.total():,} true boxes {missed.total():,} are missed ({percent(missed.total() / max(1, true.total()))}); "
        f"{wrong:,} boxes are false."
    )
    note = (
        "; ".join(f"{name}: {words}" for name, words in CAUSES.items()) + f". From a score of {spec.threshold:.2f} on."
    )
    columns = ("label", "true boxes", "missed", *(f"false: {name}" for name in CAUSES))
    table = Table(title="", columns=columns, rows=lines, note=note)
    return Part(title="What is missed, and what is false", text=(text,), tables=(table,))


def worst_part(rows: pd.DataFrame, images: "np.ndarray | Crops", path: Path) -> Part:
    """The images with the most missed and false boxes."""
    errors = np.array(
        [
            len(missed) + sum(not box["right"] for box in found)
            for missed, found in zip(rows["missed"], rows["found"], strict=True)
        ]
    )
    worst = np.argsort(-errors, kind="stable")[: min(WORST, int((errors > 0).sum()))]
    if not len(worst):
        return Part(title="The worst images", text=(f"No error in {len(rows):,} test images.",))
    text = (
        f"These {len(worst)} images hold {percent(errors[worst].sum() / errors.sum())} of all missed and false boxes."
    )
    title = f"The {len(worst)} worst of {len(rows):,} test images"
    picture = Picture(
        path=boxes_picture(images, rows, worst, title, path), caption="Green: right; red: false; amber: missed."
    )
    return Part(title="The worst images", text=(text,), pictures=(picture,))
