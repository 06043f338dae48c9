"""Which answers are about images unlike any that the model was tested on, by their embedding.

Distance to the nearest class: Mahalanobis, one shrunken covariance for all classes (Lee et al. 2018, arXiv:1807.03888;
Ledoit & Wolf 2004). The reference's own distances are taken with its family left out, so that they are those of new images.

What it does not know: a new class whose images land among those of a known one, which happens (a drawn leaf mold does in
four of five images), and blur, which pulls all images towards the middle.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from vision.monitoring.columns import embedded

USUAL = 0.95
"""Share of the reference's rows that count as usual."""
FOLDS = 5
MIN_REFERENCE = 50
"""Reference rows below which a covariance of 32 numbers is no more than a guess."""


@dataclass(frozen=True)
class Novelty:
    """Distances of reference [N] and window [M] to the nearest class; NaN without an embedding. `limit`: usual up to here."""

    reference: np.ndarray
    window: np.ndarray
    limit: float

    @property
    def novel(self) -> np.ndarray:
        """bool [M]"""
        return self.window > self.limit

    @property
    def reference_novel(self) -> np.ndarray:
        return self.reference > self.limit


def excess_novel(share: np.ndarray | float, rows: int, reference_rows: int) -> np.ndarray | float:
    """Share of a window's rows that are novel beyond what is so without any change: beyond 1 - USUAL and one standard error of it."""
    usual = 1 - USUAL
    by_chance = np.sqrt(usual * USUAL * (1 / rows + 1 / reference_rows))
    return np.maximum(0.0, share - usual - by_chance) / USUAL


def measure_novelty(reference: pd.DataFrame, window: pd.DataFrame) -> Novelty | None:
    """None without embeddings, without labels, or with fewer than MIN_REFERENCE rows of reference."""
    from sklearn.model_selection import GroupKFold

    names = embedded(reference)
    if not names or "label" not in reference or not set(names) <= set(window) or len(reference) < MIN_REFERENCE:
        return None
    known, labels = reference[names].to_numpy(np.float64), reference["label"].to_numpy()
    families = reference["family"] if "family" in reference else pd.Series(np.arange(len(reference)))
    folds = min(FOLDS, families.nunique())
    if folds < 2:
        return None
    own = np.empty(len(known))
    for rest, fold in GroupKFold(folds).split(known, groups=families):
        own[fold] = _distances(known[rest], labels[rest], known[fold])
    seen = _distances(known, labels, window[names].to_numpy(np.float64))
    return Novelty(own, seen, float(np.quantile(own, USUAL)))


def _distances(known: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """To the nearest class mean of `known` [N, D], whitened within classes: float [M]."""
    from sklearn.covariance import LedoitWolf

    classes, numbers = np.unique(labels, return_inverse=True)
    means = np.stack([known[numbers == number].mean(axis=0) for number in range(len(classes))])
    within = known - means[numbers]
    # A projection that never varies must not divide by nothing.
    ridge = np.eye(known.shape[1]) * max(1e-12, 1e-6 * float(within.var()))
    whiten = np.linalg.cholesky(np.linalg.inv(LedoitWolf(assume_centered=True).fit(within).covariance_ + ridge))
    seen, centres = rows @ whiten, means @ whiten
    squared = (seen**2).sum(axis=1)[:, None] - 2 * seen @ centres.T + (centres**2).sum(axis=1)
    return np.sqrt(np.maximum(squared, 0).min(axis=1))
