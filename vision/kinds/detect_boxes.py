"""Candidates of a detector to the boxes that are answered: non-maximum suppression of each class, in numpy.

A candidate is a place with a score for every class, so that one place may become a box of several classes.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from vision.data.boxes.geometry import overlaps

SUPPRESS_AT = 0.5
"""Of two boxes of a class that overlap by more, the one with the lower score goes."""
MOST_BOXES = 100
"""Of an image; the evaluator of COCO looks at no more."""


class Found(NamedTuple):
    """Boxes float64 [n, 4] (x1, y1, x2, y2) as shares of the image's sides, their scores [n] and classes int [n]; the
    highest score first."""

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray

    def above(self, threshold: float) -> "Found":
        kept = self.scores >= threshold
        return Found(self.boxes[kept], self.scores[kept], self.classes[kept])


def find(boxes: np.ndarray, scores: np.ndarray, least: float, most: int = MOST_BOXES) -> Found:
    """boxes [Q, 4] and scores [Q, K] of one image's candidates -> those from the score `least` on that stay.

    Raises `ValueError` on numbers that are not finite: such a model has no answer.
    """
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        raise ValueError("the model gave boxes or scores that are not finite")
    places, classes = np.nonzero(scores >= least)
    values = scores[places, classes]
    order = np.argsort(-values, kind="stable")
    found = Found(np.asarray(boxes, np.float64)[places[order]], values[order].astype(np.float64), classes[order])
    kept = _survivors(found, most)
    return Found(found.boxes[kept], found.scores[kept], found.classes[kept])


def find_all(outputs: Mapping[str, np.ndarray], least: float) -> list[Found]:
    return [find(*each, least) for each in zip(outputs["boxes"], outputs["scores"], strict=True)]


def _survivors(found: Found, most: int) -> np.ndarray:
    """Places in `found`, at most `most`."""
    apart = found.boxes + 2.0 * found.classes[:, None]  # boxes of two classes never overlap
    left, kept = np.ones(len(apart), bool), []
    for place in range(len(apart)):
        if not left[place]:
            continue
        kept.append(place)
        if len(kept) == most:
            break
        rest = np.flatnonzero(left[place + 1 :]) + place + 1
        left[rest[overlaps(apart[place], apart[rest])[0] > SUPPRESS_AT]] = False
    return np.array(kept, dtype=int)
