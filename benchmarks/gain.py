"""What one training gains over another on the same test images, with its interval."""

import numpy as np

from vision.evaluation.metrics import scores
from vision.evaluation.resampling import bootstrap_difference

LEVEL = 0.95
SAMPLES = 2000


def gain_interval(after: np.ndarray, before: np.ndarray, classes: int, metric: str) -> tuple[float, float]:
    """95 % of after - before, both on the same resampled families. after, before: as `family_confusions` gives them.

    It knows of the images' chance and not of the trainings'.
    """
    gains = bootstrap_difference(after, before, classes, lambda confusions: scores(confusions)[metric], SAMPLES)
    low, high = np.quantile(gains, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
