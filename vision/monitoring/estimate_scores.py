"""How good a window's label-free estimate was, once labels of its answers have come."""

import pandas as pd

from vision.monitoring.labels import adjusted_accuracy
from vision.monitoring.performance import Estimate, Score, score_estimate
from vision.monitoring.serving_contract import find_faults
from vision.settings import Section


class ScoredEstimate(Section):
    """labelled: accuracy of the same answers, from labels, at equal confidence: the label queue asks for hard ones."""

    estimate: Estimate
    labelled: Estimate
    score: Score


def score_with_labels(
    reference: pd.DataFrame, window: pd.DataFrame, feedback: pd.DataFrame, estimate: Estimate, alpha: float
) -> ScoredEstimate | None:
    """estimate: as the diagnosis of `window` made it, so of its images that are not faulty. alpha: of that diagnosis.

    None without a label.
    """
    clean = window[~find_faults(reference, window, alpha).rows]
    labelled = adjusted_accuracy(reference, clean, feedback)
    if labelled is None:
        return None
    return ScoredEstimate(estimate=estimate, labelled=labelled, score=score_estimate(estimate, labelled))
