"""Candidate against champion on the same test images: is it worse, by more than is let through, and not by chance?

A drop fails when it is both larger than the config allows and significant in a one-sided paired test; so a difference
of noise passes, and a warning names a large drop that too few images were there to prove. The unit is the family.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vision.evaluation.checks import Check, GateInput, show
from vision.evaluation.config import GateConfig, SliceGate
from vision.evaluation.gate_slices import slice_parts
from vision.evaluation.metrics import RATES, scores
from vision.evaluation.resampling import (
    bootstrap_difference,
    family_confusions,
    holm,
    randomisation_p,
    sign_test_p,
    span,
)

SAMPLES = 2000
LEVEL = 0.95
NAMED = 5


@dataclass(frozen=True)
class Drop:
    """What was lost against the champion: figures on the shared images, one-sided p, and how much is let through."""

    what: str
    value: float
    champion: float
    p: float
    allowed: float
    images: int
    detail: str = ""


def compare(candidate: GateInput, champion: GateInput, config: GateConfig) -> list[Check]:
    """Checks of the shared images: the headline and all answers, each class, each slice held (Holm's correction within
    each of the three)."""
    shared = match(candidate.rows, champion.rows)
    overlap = _overlap(shared, candidate, champion)
    if shared.empty:
        return [overlap]
    overall = _holm([*_headline(shared, candidate, champion, config), _answers(shared, config)])
    classes = _holm([_class(label, part, config) for label, part in shared.groupby("label", sort=True)])
    slices = _holm([_slice(*part) for part in slice_parts(shared, config.slices)])
    return [overlap, *(_check(drop, champion.name, config.significance) for drop in (*overall, *classes, *slices))]


def match(rows: pd.DataFrame, champion_rows: pd.DataFrame) -> pd.DataFrame:
    """The images of both, by content (sha256; path where there is none) and with the same label.

    Columns: label, family, right, champion_right and, where both have it, answer and champion_answer.
    """
    mine, theirs = _keyed(rows), _keyed(champion_rows)
    columns = [name for name in ("label", "right", "answer") if name in theirs]
    shared = mine.merge(theirs[["key", *columns]].rename(columns=lambda name: _champion(name)), on="key")
    shared = shared[shared["label"] == shared["champion_label"]].reset_index(drop=True)
    return shared if "family" in shared else shared.assign(family=shared["key"])


def _keyed(rows: pd.DataFrame) -> pd.DataFrame:
    key = rows["sha256"] if "sha256" in rows else rows["path"]
    return rows.assign(key=key.fillna(rows["path"]) if "path" in rows else key).drop_duplicates("key")


def _champion(name: str) -> str:
    return name if name == "key" else f"champion_{name}"


def _overlap(shared: pd.DataFrame, candidate: GateInput, champion: GateInput) -> Check:
    """Not a question that fails: it says on how many images the two have met."""
    images, asked = len(shared), candidate.rows.drop_duplicates("sha256" if "sha256" in candidate.rows else "path")
    reason = f"met the champion {champion.name} on {images} of {len(asked)} test images"
    warning = ""
    if images == 0:
        warning = f"the champion {champion.name} shares no test image, so it was not compared"
    elif images < len(asked) / 2:
        warning = (
            f"fewer than half of the test images are shared with the champion {champion.name}: {images} of {len(asked)}"
        )
    warning = "; ".join(filter(None, (warning, _strange_labels(candidate, champion))))
    return Check(
        f"images shared with {champion.name}",
        "as many as there are",
        f"{images} of {len(asked)}",
        True,
        reason,
        warning,
    )


def _strange_labels(candidate: GateInput, champion: GateInput) -> str:
    asked, known = set(candidate.per_class["label"]), set(champion.per_class["label"])
    if asked == known:
        return ""
    parts = [f"{_listed(asked - known)} unknown to the champion {champion.name}, not compared"] * bool(asked - known)
    parts += [f"{_listed(known - asked)} known to the champion {champion.name} alone"] * bool(known - asked)
    return "other classes: " + "; ".join(parts)


def no_common_label(champion: str, known: Collection[str], labels: Collection[str]) -> Check:
    """In place of a comparison with a champion that knows none of the labels."""
    reason = f"not compared with the champion {champion}, which knows none of these classes"
    warning = f"{reason}: it knows {_listed(known)}; the data has {_listed(labels)}"
    return Check(f"images shared with {champion}", "as many as there are", "0", True, reason, warning)


def _listed(labels: Collection[str]) -> str:
    names = sorted(labels)
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED:,} more" if len(names) > NAMED else "")


def _headline(shared: pd.DataFrame, candidate: GateInput, champion: GateInput, config: GateConfig) -> list[Drop]:
    """The headline metric from the answers where it is one of them (`metrics.RATES`); other kinds go by `right`
    alone."""
    name = candidate.headline
    if name not in RATES or "answer" not in shared or "champion_answer" not in shared:
        return []
    labels = pd.unique(shared[["label", "answer", "champion_answer"]].to_numpy().ravel())
    targets, mine, theirs = (pd.Index(labels).get_indexer(shared[c]) for c in ("label", "answer", "champion_answer"))
    counts, champion_counts = (
        family_confusions(targets, answers, shared["family"], len(labels)) for answers in (mine, theirs)
    )
    statistic = _statistic(name)
    value, champion_value = (
        float(statistic(np.asarray(c.sum(axis=0)).reshape(1, len(labels), -1))[0]) for c in (counts, champion_counts)
    )
    p = randomisation_p(champion_counts, counts, len(labels), statistic, SAMPLES)
    low, high = span(bootstrap_difference(counts, champion_counts, len(labels), statistic, SAMPLES), LEVEL)
    detail = f"difference {value - champion_value:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}"
    return [Drop(name, value, champion_value, p, config.max_drop, len(shared), detail)]


def _statistic(name: str) -> Callable[[np.ndarray], np.ndarray]:
    return lambda confusions: scores(confusions)[name]


def _answers(shared: pd.DataFrame, config: GateConfig) -> Drop:
    return _sign_drop("share of right answers", shared, config.max_drop)


def _class(label: str, shared: pd.DataFrame, config: GateConfig) -> Drop:
    return _sign_drop(f"{label} recall", shared, config.max_class_drop)


def _slice(name: str, held: SliceGate, shared: pd.DataFrame) -> Drop:
    return _sign_drop(f"slice {name} accuracy", shared, held.max_drop)


def _sign_drop(what: str, shared: pd.DataFrame, allowed: float) -> Drop:
    mine, theirs = shared["right"].to_numpy(bool), shared["champion_right"].to_numpy(bool)
    worse, better = theirs & ~mine, mine & ~theirs
    p = sign_test_p(worse, better, shared["family"].to_numpy())
    detail = f"{worse.sum()} answers lost, {better.sum()} won"
    return Drop(what, float(mine.mean()), float(theirs.mean()), p, allowed, len(shared), detail)


def _holm(drops: list[Drop]) -> list[Drop]:
    adjusted = holm(np.array([drop.p for drop in drops]))
    return [Drop(**{**vars(drop), "p": float(p)}) for drop, p in zip(drops, adjusted, strict=True)]


def _check(drop: Drop, champion: str, significance: float) -> Check:
    lost = drop.champion - drop.value
    too_much, proven = lost > drop.allowed + 1e-12, drop.p <= significance
    value, beside = show(drop.value, drop.champion), show(drop.champion, drop.value)
    got = f"{value}, champion {beside}, {_p(drop.p)} on {drop.images} images"
    reason = f"{drop.what} {got} ({drop.detail})"
    warning = ""
    if too_much and not proven:
        warning = f"{drop.what} is {lost:.3f} below the champion, which could be chance: {got}"
    elif proven and not too_much:
        warning = f"{drop.what} is really lower than the champion's, within the {drop.allowed:g} let through: {got}"
    return Check(
        f"{drop.what} vs {champion}",
        f"drop ≤ {drop.allowed:g}, or chance",
        got,
        not (too_much and proven),
        reason,
        warning,
    )


def _p(p: float) -> str:
    return f"p={p:.3f}" if p >= 0.001 else "p<0.001"
