"""What labels that came later say about a window, with less trust in who gets labelled.

Labels are no random sample: the label queue asks for answers that the model was unsure of, and people correct wrong answers
sooner than they confirm right ones. The first can be made good, by comparing with the reference at equal confidence; the
second can't, except where no answer at all was confirmed.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import pandas as pd

from vision.monitoring.evidence import Evidence, excess_p
from vision.monitoring.performance import LEVEL, Estimate, labelled_answers, rights, samples_at_once

MIN_UNKNOWN = 3
"""Labels of one unknown class; fewer may be slips."""
PRIOR = np.linspace(0.05, 0.95, 19)
"""Confidences of answers that are taken to have been right as often as that, one each."""


class LabelConfig(Protocol):
    """As far as `configs.monitoring.MonitorConfig` is needed here."""

    alpha: float
    accuracy_drop: float
    min_labels: int


def adjusted_accuracy(reference: pd.DataFrame, window: pd.DataFrame, feedback: pd.DataFrame | None) -> Estimate | None:
    """Of the whole window, its labelled answers weighed by what their confidence let expect. None without labels.

    Prediction-powered inference (Angelopoulos et al. 2023, arXiv:2301.09633): the mean chance of being right that the
    reference gives to such confidences, and by how much labelled answers miss it. 95 % bootstrap over labelled answers.
    """
    labelled, right = labelled_answers(window, feedback).dropna(subset=["answer_confidence"]), rights(reference)
    if len(labelled) == 0 or right is None:
        return None
    chance = _calibrated(reference["answer_confidence"].to_numpy(float), right.to_numpy())
    missed = (labelled["label"] == labelled["answer_label"]) - chance(labelled["answer_confidence"].to_numpy(float))
    expected = float(chance(window["answer_confidence"].dropna().to_numpy(float)).mean())
    rng, missed = np.random.default_rng(0), missed.to_numpy(float)
    drawn = (rng.integers(len(missed), size=(count, len(missed))) for count in samples_at_once(len(missed)))
    samples = expected + np.concatenate([missed[rows].mean(axis=1) for rows in drawn])
    value = expected + missed.mean()
    low, high = np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(
        value=float(np.clip(value, 0, 1)), low=float(np.clip(low, 0, 1)), high=float(np.clip(high, 0, 1)),
        method="labels at equal confidence", rows=len(labelled), share=len(labelled) / len(window),
        reference=float(right.mean()),
    )  # fmt: skip


def fall_of_labelled(
    reference: pd.DataFrame,
    window: pd.DataFrame,
    feedback: pd.DataFrame | None,
    config: LabelConfig,
    labels: Sequence[str],
) -> tuple[Evidence, ...]:
    """Empty unless the accuracy fell by more than `config.accuracy_drop`: on the labelled answers, and at equal confidence.

    Asked of answers whose true label is one of `labels`; others are another cause. Where every labelled answer is wrong,
    nobody confirms: then more must be wrong than the reference lets expect of the whole window, labelled or not.
    """
    feedback = feedback if feedback is None else feedback[feedback["label"].isin(list(labels))]
    labelled, known = labelled_answers(window, feedback), _one_a_family(reference)
    right = rights(known)
    if right is None or len(labelled) < config.min_labels:
        return ()
    wrong = int((labelled["label"] != labelled["answer_label"]).sum())
    asked = len(window) if wrong == len(labelled) else len(labelled)
    p_value = excess_p(wrong, asked, int((~right).sum()), len(right))
    adjusted = adjusted_accuracy(reference, window, feedback)
    fell = asked == len(window) or (
        adjusted.high < adjusted.reference and adjusted.reference - adjusted.value > config.accuracy_drop
    )
    if p_value > config.alpha or not fell or right.mean() - (1 - wrong / asked) <= config.accuracy_drop:
        return ()
    words = _words(wrong, len(labelled), len(window), adjusted)
    seen, expected = 1 - wrong / asked, float(right.mean())
    return (Evidence(name="labelled_accuracy", seen=seen, expected=expected, p_value=p_value, words=words),)


def unknown_labels(window: pd.DataFrame, feedback: pd.DataFrame | None, labels: Sequence[str]) -> tuple[Evidence, ...]:
    """One line a class that people named and the model can't answer."""
    labelled = labelled_answers(window, feedback)
    counts = labelled.loc[~labelled["label"].isin(list(labels)), "label"].value_counts()
    return tuple(
        Evidence(
            name="unknown_label", seen=count / len(labelled), expected=0.0, p_value=None,
            words=f"{count} of {len(labelled)} labelled answers are {label!r}, which the model does not know",
        )
        for label, count in counts.items()
        if count >= MIN_UNKNOWN
    )  # fmt: skip


def _one_a_family(reference: pd.DataFrame) -> pd.DataFrame:
    return reference.drop_duplicates("family") if "family" in reference else reference


def _words(wrong: int, labelled: int, rows: int, adjusted: Estimate) -> str:
    return (
        f"{labelled - wrong} of {labelled} labelled answers are right; at equal confidence {adjusted.value:.0%} of the window "
        f"({adjusted.low:.0%} to {adjusted.high:.0%}), {adjusted.reference:.0%} of the reference. "
        f"{labelled / rows:.0%} of the answers have a label: were all others right, it would be {1 - wrong / rows:.0%}"
    )


def _calibrated(confidence: np.ndarray, right: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Chance of being right at a confidence: logistic in its logit (Platt 1999).

    PRIOR stands in where the reference has few answers, as it has few unsure ones, and that confidence means what it says.
    """
    from sklearn.linear_model import LogisticRegression

    grid = np.repeat(PRIOR, 2)
    hits, weights = np.tile([1, 0], len(PRIOR)), np.stack([PRIOR, 1 - PRIOR], axis=1).ravel()
    fitted = LogisticRegression(C=100.0).fit(
        _logit(np.concatenate([confidence, grid])),
        np.concatenate([right.astype(int), hits]),
        sample_weight=np.concatenate([np.ones(len(right)), weights]),
    )
    return lambda values: fitted.predict_proba(_logit(values))[:, 1]


def _logit(shares: np.ndarray) -> np.ndarray:
    inside = np.clip(shares, 1e-4, 1 - 1e-4)
    return np.log(inside / (1 - inside))[:, None]
