"""What kind of change a window shows, the evidence for it, and the cheapest thing to do about it.

Known limits: a frame whose half is torn off is a covariate shift, not a fault; a new class in a fifth of a window of 200 is
named in about two of three windows; images of one family served in a run make shares of classes uncertain, and are taken for
so. Without labels a model that is wrong and sure shows nothing at all.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

import pandas as pd

from vision.monitoring.drift import DriftConfig, DriftResult, judge, sample
from vision.monitoring.evidence import Evidence
from vision.monitoring.families import sample_families
from vision.monitoring.labels import LabelConfig, fall_of_labelled, unknown_labels
from vision.monitoring.performance import Estimate, estimate_accuracy, labelled_accuracy
from vision.monitoring.serving_contract import find_faults
from vision.monitoring.shift import LEAST_ROWS, Shift, explain_shift
from vision.settings import Section

Cause = Literal[
    "none", "pipeline_fault", "accuracy_drop", "unseen_class", "class_frequency_shift", "covariate_shift",
    "estimated_accuracy_drop",
]  # fmt: skip
ACTIONS: dict[str, str] = {
    "none": "nothing to do",
    "pipeline_fault": "mend the camera or the pipeline; do not retrain, a model would learn the fault",
    "accuracy_drop": "retrain with the labelled answers",
    "unseen_class": "label some of the images that the model is unsure of (queue_labels); if they show a class of their own, "
    "add it to data.classes, then retrain: without its labels retraining changes nothing",
    "class_frequency_shift": "leave the model as it is; adjust confident_at or the classes' priors if the errors cost more now",
    "covariate_shift": "label a sample of the new images (queue_labels) and retrain with them",
    "estimated_accuracy_drop": "label a sample (queue_labels) to see whether the accuracy fell, and retrain with it if it did",
}
HARMLESS_SHIFT = (
    "nothing yet: the estimated accuracy holds; label a sample (queue_labels) to be sure, retraining can wait"
)
"""Of pictures that changed where the estimate rules out a fall that counts."""
RETRAINED = frozenset({"accuracy_drop", "covariate_shift", "estimated_accuracy_drop"})
"""Causes that a training with the window's labels can mend."""
EXPLAINING = {
    "pipeline_fault": "a model would learn the fault",
    "unseen_class": "without labels of its own class a training changes nothing",
    "class_frequency_shift": "the classes look as they did, only in other numbers",
}
"""Causes that a training does not mend, and that may be all there is behind what is only estimated."""
FAULTS_FIRST = "; the accuracy fell on whole images as well: retrain with their labels, without the faulty images"


class DiagnosisConfig(DriftConfig, LabelConfig, Protocol):
    """`configs.monitoring.MonitorConfig`."""


class Diagnosis(Section):
    cause: Cause
    """The headline: the first of `causes`, or none."""
    causes: tuple[Cause, ...]
    """In order of what to deal with first."""
    evidence: tuple[Evidence, ...]
    """Of all causes, in their order."""
    action: str
    """The cheapest, of the headline."""
    retrain: bool
    """Should a training be asked for? Decided from all causes: see `_asking`."""
    retrain_for: Cause = "none"
    """The cause that asks for it."""
    training: str = ""
    """Why it is asked for, or what speaks against it; empty where no cause is one that a training mends."""
    labels: int
    """Labelled answers in the window without its faulty images: what a training could learn of the change."""
    reasons: tuple[str, ...]
    """One line a cause."""
    estimate: Estimate | None = None
    labelled: Estimate | None = None


def diagnose(
    reference: pd.DataFrame,
    window: pd.DataFrame,
    drift: DriftResult,
    feedback: pd.DataFrame | None,
    config: DiagnosisConfig,
    labels: Sequence[str],
) -> Diagnosis:
    """reference: the package's; window: records of that package alone; drift: of the two; feedback: as `read_feedback`.

    labels: the package's, those that it can answer. A window shows several causes when it does: what is broken is set
    aside before the rest is judged.
    """
    faults = find_faults(reference, window, config.alpha)
    clean = window[~faults.rows]
    estimate = estimate_accuracy(reference, clean, config)
    shift = _shift(reference, clean, drift if len(clean) == len(window) else None, config)
    found = {
        "pipeline_fault": faults.evidence,
        "accuracy_drop": fall_of_labelled(reference, clean, feedback, config, labels),
        "unseen_class": unknown_labels(clean, feedback, labels),
        "class_frequency_shift": (),
        "covariate_shift": (),
        "estimated_accuracy_drop": _fall_of_estimate(estimate, config.accuracy_drop),
    }
    for cause in shift.causes:
        found[cause] = (*found[cause], *shift.evidence)
    return _diagnosis(found, estimate, labelled_accuracy(clean, feedback), config.accuracy_drop)


def _shift(reference: pd.DataFrame, clean: pd.DataFrame, drift: DriftResult | None, config: DiagnosisConfig) -> Shift:
    """drift: of the clean rows; None where faulty ones were set aside, then the rest is tested anew."""
    if len(clean) < LEAST_ROWS:
        return Shift(causes=(), evidence=())
    if drift is None:
        known = sample_families(reference, config.max_rows, 0)
        drift = judge(known, sample(clean, config.max_rows, 0), config, 0)
    return explain_shift(reference, clean, drift)


def _fall_of_estimate(estimate: Estimate | None, most: float) -> tuple[Evidence, ...]:
    """Empty unless the estimate lies below the reference by more than `most`, and by more than chance."""
    if estimate is None or estimate.high >= estimate.reference or estimate.reference - estimate.value <= most:
        return ()
    words = (
        f"estimated without labels, {estimate.value:.0%} of the answers are right ({estimate.low:.0%} to {estimate.high:.0%}), "
        f"{estimate.reference:.0%} of the reference"
    )
    name = "estimated_accuracy"
    return (Evidence(name=name, seen=estimate.value, expected=estimate.reference, p_value=None, words=words),)


def _diagnosis(
    found: dict[str, tuple[Evidence, ...]], estimate: Estimate | None, labelled: Estimate | None, most: float
) -> Diagnosis:
    """found: evidence of each cause, in order of what to deal with first; empty for one that the window doesn't show."""
    causes = tuple(cause for cause, evidence in found.items() if evidence)
    cause = causes[0] if causes else "none"
    harmless = causes == ("covariate_shift",) and _holds(estimate, most)
    asking, why = _asking(causes, harmless)
    return Diagnosis(
        cause=cause,
        causes=causes,
        evidence=tuple(line for one in causes for line in found[one]),
        action=_action(cause, asking, harmless),
        retrain=asking != "none",
        retrain_for=asking,
        training=why,
        labels=labelled.rows if labelled else 0,
        reasons=tuple(f"{one}: {found[one][0].words}" for one in causes),
        estimate=estimate,
        labelled=labelled,
    )


def _asking(causes: Sequence[Cause], harmless: bool) -> tuple[Cause, str]:
    """The cause for which a training is asked for, or none; and why, in words.

    A fall that labels of whole images show asks for one, whatever else the window shows. What is only estimated asks for
    one where nothing of EXPLAINING is there to explain it.
    """
    asking = [cause for cause in causes if cause in RETRAINED]
    if not asking:
        return "none", ""
    named = [cause.replace("_", " ") for cause in asking]
    explained = [cause for cause in causes if cause in EXPLAINING]
    if "accuracy_drop" in asking:
        beside = f", also beside {', '.join(one.replace('_', ' ') for one in explained)}" if explained else ""
        return "accuracy_drop", f"asked for: labels of images that are not faulty show that the accuracy fell{beside}"
    if explained:
        first = explained[0]
        return (
            "none",
            f"not asked for in spite of {' and '.join(named)}: {first.replace('_', ' ')}, {EXPLAINING[first]}",
        )
    if harmless:
        return "none", "not asked for: the estimated accuracy holds"
    return asking[0], f"asked for: {' and '.join(named)}, with nothing else to explain it"


def _action(cause: Cause, asking: Cause, harmless: bool) -> str:
    if harmless:
        return HARMLESS_SHIFT
    return ACTIONS[cause] + FAULTS_FIRST * (cause == "pipeline_fault" and asking != "none")


def _holds(estimate: Estimate | None, most: float) -> bool:
    """Does the interval rule out a fall by more than `most`?"""
    return estimate is not None and estimate.reference - estimate.low <= most
