"""Why a window drifted: other numbers of each class, a class that the model never saw, or other pictures.

Each explanation is tried out: the reference is changed as the explanation says, and the window tested against it once more.
The first one under which nothing is left of the drift is taken; with none, pictures have changed.
"""

from types import SimpleNamespace

import numpy as np
import pandas as pd

from vision.data.features import FEATURES
from vision.monitoring.class_mix import mix_words, served_mix, with_mix
from vision.monitoring.columns import named
from vision.monitoring.drift import DriftResult, judge, sample
from vision.monitoring.evidence import Evidence, excess_p
from vision.monitoring.families import sample_families, worth_of_one
from vision.monitoring.novelty import USUAL, Novelty, measure_novelty
from vision.settings import Section

RETEST = SimpleNamespace(alpha=0.02, permutations=499)
"""Of what an explanation leaves over: laxer than the first test, since it is asked of windows that drifted."""
MOST_ROWS = 1000
"""Of reference and window in such a test."""
LEAST_ROWS = 50
CONFIDENCE = {"answer_confidence", "answer_confident"}
SAID = {"answer_label"} | CONFIDENCE


class Shift(Section):
    causes: tuple[str, ...]
    evidence: tuple[Evidence, ...]


def explain_shift(reference: pd.DataFrame, window: pd.DataFrame, drift: DriftResult, seed: int = 0) -> Shift:
    """window: without its faulty rows; drift: of these. Causes: one of class_frequency_shift, unseen_class, covariate_shift, or
    estimated_accuracy_drop where nothing but the confidence fell; none where nothing drifted and no new class is seen.

    A class that the model never saw is told from other pictures by this: its images were taken as all others were, so
    what the model makes of them changes and what needs no model (FEATURES) does not; or all that has changed are images
    that are far from every class or that the model is unsure of. Where the kind measures its answers (boxes) and these
    measures moved, the things that it knows come otherwise: larger, more, elsewhere.
    """
    known, seen = sample_families(reference, MOST_ROWS, seed), sample(window, MOST_ROWS, seed)
    novelty = measure_novelty(known, seen)
    novel = _novel_evidence(novelty, known, seen, drift.alpha)
    if not drift.drifted:
        return Shift(causes=("unseen_class",) if novel else (), evidence=novel)
    drifted, mix = _drift_evidence(drift), _mix_evidence(known, seen, drift)
    left = _left_by_mix(known, seen, seed) if mix else drift
    if mix and not left.drifted and not _less_sure(left):
        return Shift(causes=("class_frequency_shift",), evidence=(*mix, *drifted))
    if not _pictures_changed(left):
        return Shift(causes=(_unlike(left, bool(novel), bool(mix)),), evidence=(*novel, *drifted))
    if novel and _rest_is_usual(known, seen, novelty, seed):
        return Shift(causes=("unseen_class",), evidence=(*novel, *drifted))
    return Shift(causes=("covariate_shift",), evidence=(*drifted, *novel))


def _unlike(drift: DriftResult, novel: bool, mix: bool) -> str:
    """The cause where pictures are as before: what they show is new, lies or is large otherwise, or the same and harder."""
    if _measured(drift) and not novel:
        return "covariate_shift"
    if novel or mix or not set(drift.drifted_columns) <= CONFIDENCE:
        return "unseen_class"
    fell = any(test.name == "answer_confidence" and test.effect < 0 for test in drift.tests)
    return "estimated_accuracy_drop" if fell else "covariate_shift"


def _left_by_mix(known: pd.DataFrame, seen: pd.DataFrame, seed: int) -> DriftResult:
    """Drift against a reference with the window's share of each class."""
    mixed = with_mix(known, served_mix(known, seen), seed)
    return judge(mixed if len(mixed) >= LEAST_ROWS else known, seen, RETEST, seed)


def _less_sure(drift: DriftResult) -> bool:
    """Asked of the confidence alone: among twenty columns its share of the error rate would be too small to see a new class."""
    return any(
        test.name == "answer_confidence" and test.p_value <= RETEST.alpha and test.effect < 0 for test in drift.tests
    )


def _measured(drift: DriftResult) -> bool:
    """Did what the kind measures of an answer change (of boxes: how many, how large, where)?"""
    return any(name.startswith("answer_") and name not in SAID for name in drift.drifted_columns)


def _pictures_changed(drift: DriftResult) -> bool:
    return bool(set(drift.drifted_columns) & set(FEATURES))


def _rest_is_usual(known: pd.DataFrame, seen: pd.DataFrame, novelty: Novelty, seed: int) -> bool:
    """Does nothing differ, once novel and unsure answers are left out on both sides?"""
    rest = seen[~novelty.novel & ~_unsure(seen)]
    usual = known[~novelty.reference_novel & ~_unsure(known)]
    if min(len(rest), len(usual)) < LEAST_ROWS:
        return False
    return not _left_by_mix(usual, rest, seed).drifted


def _novel_evidence(
    novelty: Novelty | None, known: pd.DataFrame, seen: pd.DataFrame, alpha: float
) -> tuple[Evidence, ...]:
    """Empty unless more images than usual are far from every class and leave the model unsure: either alone has other reasons."""
    if novelty is None:
        return ()
    novel, usual = novelty.novel & _unsure(seen), novelty.reference_novel & _unsure(known)
    worth = worth_of_one(known)
    counts = (int(worth * count) for count in (novel.sum(), len(novel), usual.sum(), len(usual)))
    p_value = excess_p(*counts)
    if not p_value <= alpha:  # Of nothing there is no p-value.
        return ()
    words = (
        f"{int(novel.sum())} of {len(novel)} images are farther from every class than {USUAL:.0%} of the reference and "
        f"leave the model unsure; {int(usual.sum())} of {len(usual)} are in the reference"
    )
    share, expected = float(novel.mean()), float(usual.mean())
    return (Evidence(name="novelty", seen=share, expected=expected, p_value=p_value, words=words),)


def _unsure(rows: pd.DataFrame) -> np.ndarray:
    return rows["answer_confident"].eq(False).to_numpy(bool)


def _mix_evidence(known: pd.DataFrame, seen: pd.DataFrame, drift: DriftResult) -> tuple[Evidence, ...]:
    """Empty unless the answers' frequencies changed."""
    found = [test for test in drift.tests if test.name == "answer_label" and test.p_value <= drift.alpha]
    if not found or "label" not in known:
        return ()
    words = f"share of classes, as far as the model can tell: {mix_words(known, served_mix(known, seen))}"
    return (Evidence(name="class_mix", seen=found[0].effect, expected=0.0, p_value=found[0].p_value, words=words),)


def _drift_evidence(drift: DriftResult) -> tuple[Evidence, ...]:
    """The drifted columns, the largest effect first."""
    tests = sorted((test for test in drift.tests if test.drifted), key=lambda test: -abs(test.effect))
    unit = {"number": "by {:+.2g} standard deviations", "category": "Cramer's V {:.2f}", "embedding": "MMD {:.2f}"}
    return tuple(
        Evidence(
            name=test.name, seen=test.effect, expected=0.0, p_value=test.p_corrected,
            words=f"{named(test.name)} moved, {unit[test.kind].format(test.effect)}",
        )
        for test in tests
    )  # fmt: skip
