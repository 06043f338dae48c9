"""How well a score tells two kinds of images apart, and how sure that is."""

import numpy as np
import pandas as pd

from vision.evaluation.config import EvaluationConfig
from vision.evaluation.resampling import effective_count, span, wilson


def ranked_apart(
    scores: np.ndarray, positive: np.ndarray, families: np.ndarray, config: EvaluationConfig, seed: int = 0
) -> tuple[float, float, float]:
    """Area under the ROC curve and its interval (bootstrap over families): the chance that a positive image scores higher
    than another; ties count half. Not a number where a class has no image.

    Where no pair is in the wrong order the bootstrap knows no spread: then Wilson's bound over the smaller class's effective
    number of families stands in.
    """
    positive = np.asarray(positive, bool)
    if positive.all() or not positive.any():
        return float("nan"), float("nan"), float("nan")
    ordered, pairs = _pairs(np.asarray(scores, np.float64), positive, families)
    value = float(ordered.sum() / pairs.sum())
    if value in (0.0, 1.0):
        count = min(effective_count(families[positive]), effective_count(families[~positive]))
        return (value, *wilson(value, count, config.interval))
    drawn = np.random.default_rng(seed).multinomial(
        len(ordered), np.full(len(ordered), 1 / len(ordered)), config.bootstrap_samples
    )
    won, met = ((drawn @ table * drawn).sum(axis=1) for table in (ordered, pairs))
    samples = np.divide(won, met, out=np.full(len(drawn), np.nan), where=met > 0)
    return (value, *span(samples, config.interval))


def _pairs(scores: np.ndarray, positive: np.ndarray, families: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[F, F] each, row the positive image's family, column the other's: pairs in the right order, and all pairs."""
    numbers = pd.factorize(np.asarray(families))[0]
    higher = scores[positive][:, None] - scores[~positive][None, :]
    right = (higher > 0) + 0.5 * (higher == 0)
    ones = np.eye(numbers.max() + 1)
    of_positive, of_other = ones[numbers[positive]], ones[numbers[~positive]]
    return of_positive.T @ right @ of_other, of_positive.T @ np.ones_like(right) @ of_other
