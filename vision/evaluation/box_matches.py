"""Which found boxes are of which true ones, and what follows from it: average precision as COCO defines it, by family.

Matching is of one image at a time, so a resampled set of images has the same matches: the bootstrap reweighs them and is exact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vision.data.boxes.geometry import overlaps
from vision.kinds.detect_boxes import Found, find_all

HEADLINE = "map50"
LEAST = 0.01
"""Scores below change no average precision that could be read off."""
OVERLAP = 0.5
NOBODY = -1
RECALLS = np.linspace(0, 1, 101)
"""At which precision is read (COCO's evaluator)."""


@dataclass(frozen=True)
class Matches:
    """Of n images. For each found box, the highest score first: image, classes (its own), scores, true (number of the true
    box in its image that it is of, or NOBODY). wanted: int [n, K], true boxes by class."""

    image: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    true: np.ndarray
    wanted: np.ndarray

    @property
    def right(self) -> np.ndarray:
        return self.true != NOBODY

    def above(self, threshold: float) -> "Matches":
        kept = self.scores >= threshold
        return Matches(self.image[kept], self.classes[kept], self.scores[kept], self.true[kept], self.wanted)


def score(outputs: Mapping[str, np.ndarray], targets: Sequence[Mapping], classes: int) -> dict[str, float]:
    """map50, and the best F1 that any threshold gives; 0 where there is no true box."""
    matches = match_all(find_all(outputs, LEAST), targets, classes)
    at = matches.above(best_f1_threshold(matches))
    hits, both = at.right.sum(), len(at.scores) + at.wanted.sum()
    return {HEADLINE: mean_of_classes(average_precisions(matches)), "f1": float(2 * hits / max(both, 1))}


def mean_of_classes(values: np.ndarray) -> float:
    """Over the classes that have a true box; 0 where none has."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else 0.0


def match_all(found: Sequence[Found], targets: Sequence[Mapping], classes: int, at: float = OVERLAP) -> Matches:
    """targets: of each image `boxes` [n, 4] and `labels` [n]."""
    sides = [(np.asarray(t["boxes"], float).reshape(-1, 4), np.asarray(t["labels"], int)) for t in targets]
    true = [match(one, *side, at) for one, side in zip(found, sides, strict=True)]
    image = np.repeat(np.arange(len(found)), [len(one.scores) for one in found])
    scores = np.concatenate([one.scores for one in found]) if found else np.zeros(0)
    labels = np.concatenate([one.classes for one in found]) if found else np.zeros(0, int)
    order = np.argsort(-scores, kind="stable")
    wanted = np.array([np.bincount(labels_, minlength=classes) for _, labels_ in sides]).reshape(-1, classes)
    flat = np.concatenate(true) if true else np.zeros(0, int)
    return Matches(image[order], labels[order].astype(int), scores[order], flat[order], wanted)


def match(found: Found, boxes: np.ndarray, labels: np.ndarray, at: float = OVERLAP) -> np.ndarray:
    """int [n]: which true box each found one is of, NOBODY for none. The highest score chooses first, among those of its
    class that nobody has, the one that it overlaps most, by `at` at least."""
    chosen = np.full(len(found.scores), NOBODY)
    if not len(boxes):
        return chosen
    shared = overlaps(found.boxes, boxes)
    shared[found.classes[:, None] != labels[None, :]] = 0.0
    for place in range(len(chosen)):
        best = int(shared[place].argmax())
        if shared[place, best] >= at:
            chosen[place] = best
            shared[:, best] = 0.0
    return chosen


def average_precisions(matches: Matches) -> np.ndarray:
    """float [K]; NaN for a class without a true box."""
    return weighted_precisions(matches, np.ones((1, len(matches.wanted))))[0]


def weighted_precisions(matches: Matches, weights: np.ndarray) -> np.ndarray:
    """weights [B, n]: how often each image is in each of B samples -> average precision float [B, K]."""
    wanted = weights @ matches.wanted
    found = np.full(wanted.shape, np.nan)
    for number in range(wanted.shape[1]):
        mine = matches.classes == number
        times, right = weights[:, matches.image[mine]], matches.right[mine]
        found[:, number] = _areas(np.cumsum(times * right, axis=1), np.cumsum(times, axis=1), wanted[:, number])
    return found


def _areas(hits: np.ndarray, said: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """hits, said [B, d]: right boxes and all boxes down to each score; wanted [B]."""
    precision = np.divide(hits, said, out=np.zeros_like(hits), where=said > 0)
    highest = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    highest = np.concatenate((highest, np.zeros((len(highest), 1))), axis=1)
    found = np.full(len(wanted), np.nan)
    for row in np.flatnonzero(wanted):
        found[row] = highest[row, np.searchsorted(hits[row] / wanted[row], RECALLS)].mean()
    return found


def map_samples(matches: Matches, families: np.ndarray, samples: int, seed: int = 0) -> np.ndarray:
    """float [samples]: mean average precision of draws of all families with replacement."""
    numbers = np.unique(families, return_inverse=True)[1]
    count, rng, found = numbers.max() + 1, np.random.default_rng(seed), []
    for size in _chunks(samples, max(count, len(matches.scores), 1)):
        draws = rng.integers(count, size=(size, count)) + np.arange(size)[:, None] * count
        weights = np.bincount(draws.ravel(), minlength=size * count).reshape(size, count)
        precisions = weighted_precisions(matches, weights[:, numbers].astype(float))
        seen = np.isfinite(precisions)
        found.append(np.divide(np.where(seen, precisions, 0).sum(axis=1), seen.sum(axis=1)))
    return np.concatenate(found)


def _chunks(samples: int, width: int, numbers: int = 4_000_000) -> list[int]:
    step = max(1, min(samples, numbers // width))
    return [min(step, samples - start) for start in range(0, samples, step)]


def curve(matches: Matches, number: int) -> tuple[np.ndarray, np.ndarray]:
    """(recall, precision) of one class from its surest box on."""
    right = matches.right[matches.classes == number]
    hits = np.cumsum(right)
    return hits / max(1, matches.wanted[:, number].sum()), hits / np.arange(1, len(hits) + 1)


def best_f1_threshold(matches: Matches, otherwise: float = 0.5) -> float:
    """The score at which all boxes from it on have the best F1 against all true ones; half way to the next lower one."""
    if not matches.right.any():
        return otherwise
    hits, scores = np.cumsum(matches.right), matches.scores
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + matches.wanted.sum())
    last = np.append(scores[1:] < scores[:-1], True)  # equal scores come and go together
    best = int(np.argmax(np.where(last, f1, -1.0)))
    below = scores[best + 1] if best + 1 < len(scores) else 0.0
    return float((scores[best] + below) / 2)
