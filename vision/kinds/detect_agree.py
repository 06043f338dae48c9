"""Do two runtimes draw the same boxes? Each box of one is sought among all candidates of the other.

Among candidates and not among boxes that are left: of two places that overlap and score alike, rounding decides which one
suppresses the other, and both answers are right.
"""

from collections.abc import Mapping

import numpy as np

from vision.data.boxes.geometry import overlaps
from vision.kinds.detect_boxes import find

CLEAR_SCORE = 0.05
"""Boxes below are not compared: thousands of places score next to nothing."""
SURE_SCORE, SAME_OVERLAP = 0.3, 0.6


def least_overlap(tolerance: float) -> float:
    """Of boxes that count as the same: 0.996 for float32's tolerance of 0.001, 0.6 for bfloat16's of 0.1."""
    return max(0.5, 1 - 4 * tolerance)


def largest_gap(got: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray], tolerance: float) -> float:
    """Of the scores of `wanted`'s boxes to what `got` says of the same place; a box that has no such place there differs by
    its whole score."""
    images = zip(wanted["boxes"], wanted["scores"], got["boxes"], got["scores"], strict=True)
    return max((_gap(*image, tolerance) for image in images), default=0.0)


def same_places(got: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> np.ndarray:
    """bool [N]: is there a candidate of `got` in the place of each of `wanted`'s boxes, that scores half as much at least?"""
    images = zip(wanted["boxes"], wanted["scores"], got["boxes"], got["scores"], strict=True)
    return np.array([_same(*image) for image in images], bool)


def _same(boxes: np.ndarray, scores: np.ndarray, there: np.ndarray, there_scores: np.ndarray) -> bool:
    found = find(boxes, scores, SURE_SCORE)
    near = overlaps(found.boxes, there) >= SAME_OVERLAP
    return bool((near & (found.scores[:, None] / 2 <= there_scores[:, found.classes].T)).any(axis=1).all())


def _gap(boxes: np.ndarray, scores: np.ndarray, there: np.ndarray, there_scores: np.ndarray, tolerance: float) -> float:
    if not (np.isfinite(there).all() and np.isfinite(there_scores).all()):
        return float("inf")
    found = find(boxes, scores, CLEAR_SCORE)
    if not len(found.scores):
        return 0.0
    same = overlaps(found.boxes, there) >= least_overlap(tolerance)
    gaps = np.abs(there_scores[:, found.classes].T - found.scores[:, None])
    return float(np.where(same, gaps, found.scores[:, None]).min(axis=1).max())
