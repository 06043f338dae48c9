"""A threshold from normal images alone, with a stated false-alarm rate: split-conformal prediction.

Vovk, Gammerman and Shafer 2005; for anomalies Laxhammar and Falkman 2010. With n scores of normal images that nothing was
chosen by, the k-th smallest, k = ceil((n + 1)(1 - rate)), is passed by a further normal image with a chance of at most
`rate`, whatever the scores' distribution, as long as the images are exchangeable.
"""

import math

import numpy as np


def enough(count: int, rate: float) -> bool:
    """Can `count` scores hold that rate? 19 can hold 5 %."""
    return _place(count, rate) <= count


def stated_rate(count: int, rate: float) -> float:
    """The rate that the threshold of `count` scores really states: `rate`, or 1 / (n + 1) where they are too few for it."""
    return rate if enough(count, rate) else 1 / (count + 1)


def threshold(scores: np.ndarray, rate: float) -> float:
    """Scores above it are alarms. scores: float [n], n >= 1; the greatest of them where they are too few."""
    ordered = np.sort(np.asarray(scores, np.float64))
    return float(ordered[min(_place(len(ordered), rate), len(ordered)) - 1])


def _place(count: int, rate: float) -> int:
    return math.ceil((count + 1) * (1 - rate) - 1e-9)
