"""Several architectures on the same test images: which one to take, and why.

The rule: of the models whose headline metric a paired test can't tell to be worse than the best one's, the one whose answer
takes the least time in the precision that would be served. What can't be told apart is bought at the lower price.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vision.evaluation.metrics import RATES, scores
from vision.evaluation.resampling import (
    bootstrap_confusions,
    family_confusions,
    holm,
    randomisation_p,
    sign_test_p,
    span,
)
from vision.settings import Section

SAMPLES = 2000


@dataclass(frozen=True)
class Entry:
    """One training. rows: its test images, as an evaluation gives them. device: parameters, size_mib and latency_ms by
    precision (None where this device has it not), int8. planned: epochs of the config, before any budget."""

    arch: str
    seed: int
    headline: str
    metrics: Mapping[str, float]
    rows: pd.DataFrame
    device: Mapping[str, Any]
    cpu_seconds: float
    epochs: int
    budgeted: int
    planned: int


class Standing(Section):
    """One architecture, means over its seeds. value, low, high: its headline metric. p: one-sided, of being worse than the
    best (Holm); difference to the best with its interval; None for the best itself. worse: p is small enough."""

    arch: str
    seeds: tuple[int, ...]
    value: float
    low: float | None
    high: float | None
    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None
    parameters: int
    size_mib: dict[str, float | None]
    latency_ms: dict[str, float | None]
    int8_passed: bool
    int8_drop: float | None
    cpu_seconds: float
    epochs: float
    budgeted: int
    planned: int
    p: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    worse: bool = False

    @property
    def height(self) -> float:
        """Accuracy, or the headline of a kind that has none."""
        return self.value if self.accuracy is None else self.accuracy

    def cost_ms(self, precision: str) -> float:
        """Of one answer in `precision`, in float32 where the device has it not."""
        found = self.latency_ms.get(precision)
        return self.latency_ms["float32"] if found is None else found


def standings(entries: Sequence[Entry], sure: float, precision: str) -> list[Standing]:
    """Best headline first; at an equal one the cheaper. Raises `ValueError` for entries of other test images."""
    _same_images(entries)
    by_arch = {arch: [e for e in entries if e.arch == arch] for arch in dict.fromkeys(e.arch for e in entries)}
    counted = {arch: _counts(group, entries) for arch, group in by_arch.items()}
    found = [_standing(arch, group, counted[arch], sure) for arch, group in by_arch.items()]
    found.sort(key=lambda one: (-one.value, one.cost_ms(precision)))
    best, others = found[0], found[1:]
    raw = [_p(by_arch[best.arch], by_arch[one.arch], counted[best.arch], counted[one.arch]) for one in others]
    adjusted = holm(np.array(raw)) if raw else []
    judged = []
    for one, p in zip(others, adjusted, strict=True):
        beside = _beside(counted[one.arch], counted[best.arch], one.value - best.value, sure)
        judged.append(one.model_copy(update={**beside, "p": float(p), "worse": bool(p <= 1 - sure)}))
    return [best, *judged]


def recommended(found: Sequence[Standing], precision: str) -> Standing:
    return min((one for one in found if not one.worse), key=lambda one: (one.cost_ms(precision), -one.value))


def pareto(found: Sequence[Standing], precision: str) -> list[Standing]:
    """Those that no other beats in both, time and accuracy; the cheapest first."""
    front: list[Standing] = []
    for one in sorted(found, key=lambda one: (one.cost_ms(precision), -one.height)):
        if not front or one.height > front[-1].height:
            front.append(one)
    return front


@dataclass(frozen=True)
class _Counts:
    """confusions: sparse [families, seeds * K * K] of one architecture's seeds side by side, or None where the headline
    is not made of them."""

    confusions: Any
    classes: int
    seeds: int
    name: str

    def statistic(self, confusions: np.ndarray) -> np.ndarray:
        """[b * seeds, K, K] -> [b]: the headline's mean over the seeds."""
        return scores(confusions)[self.name].reshape(-1, self.seeds).mean(axis=1)

    def values(self, flat: np.ndarray) -> np.ndarray:
        return self.statistic(flat.reshape(-1, self.classes, self.classes))


def _same_images(entries: Sequence[Entry]) -> None:
    for entry in entries[1:]:
        if not entry.rows["path"].equals(entries[0].rows["path"]):
            raise ValueError(f"{entry.arch} (seed {entry.seed}) was tested on other images than {entries[0].arch}")


def _counts(group: Sequence[Entry], entries: Sequence[Entry]) -> _Counts | None:
    from scipy import sparse

    name = group[0].headline
    if name not in RATES or any("answer" not in entry.rows for entry in entries):
        return None
    labels = pd.Index(pd.unique(pd.concat([part for e in entries for part in (e.rows["label"], e.rows["answer"])])))
    sides = [
        family_confusions(
            labels.get_indexer(e.rows["label"]), labels.get_indexer(e.rows["answer"]), e.rows["family"], len(labels)
        )
        for e in group
    ]
    return _Counts(sparse.hstack(sides, format="csr"), len(labels), len(group), name)


def _standing(arch: str, group: Sequence[Entry], counts: _Counts | None, sure: float) -> Standing:
    name, device = group[0].headline, [entry.device for entry in group]
    value, low, high = (_mean([e.metrics.get(f"{name}{end}") for e in group]) for end in ("", "_low", "_high"))
    if counts is not None and len(group) > 1:
        low, high = span(_bootstrapped(counts), sure)
    accuracy, accuracy_low, accuracy_high = (
        _mean([e.metrics.get(f"accuracy{end}") for e in group]) for end in ("", "_low", "_high")
    )
    drops = [one["int8"]["drop"] for one in device if one["int8"]["drop"] is not None]
    return Standing(
        arch=arch,
        seeds=tuple(entry.seed for entry in group),
        value=value,
        low=low,
        high=high,
        accuracy=accuracy,
        accuracy_low=accuracy_low,
        accuracy_high=accuracy_high,
        parameters=device[0]["parameters"],
        size_mib=device[0]["size_mib"],
        latency_ms={name: _mean([one["latency_ms"][name] for one in device]) for name in device[0]["latency_ms"]},
        int8_passed=all(one["int8"]["passed"] for one in device),
        int8_drop=max(drops, default=None),
        cpu_seconds=_mean([entry.cpu_seconds for entry in group]),
        epochs=_mean([entry.epochs for entry in group]),
        budgeted=group[0].budgeted,
        planned=group[0].planned,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    return float(np.mean(values)) if values and all(value is not None for value in values) else None


def _bootstrapped(counts: _Counts) -> np.ndarray:
    return np.concatenate([counts.values(flat) for flat in bootstrap_confusions(counts.confusions, SAMPLES)])


def _p(best: Sequence[Entry], other: Sequence[Entry], first: _Counts | None, second: _Counts | None) -> float:
    """One-sided, of `best` scoring above `other` on the same families."""
    if first is not None and second is not None:
        return randomisation_p(first.confusions, second.confusions, first.classes, first.statistic, SAMPLES)
    mine, theirs = (np.concatenate([entry.rows["right"].to_numpy(bool) for entry in side]) for side in (other, best))
    families = np.concatenate([entry.rows["family"].to_numpy() for entry in other])
    return sign_test_p(theirs & ~mine, mine & ~theirs, families)


def _beside(
    counts: _Counts | None, best_counts: _Counts | None, difference: float, sure: float
) -> dict[str, float | None]:
    found: dict[str, float | None] = {"difference": difference}
    if counts is None or best_counts is None:
        return found
    from scipy import sparse

    both = sparse.hstack([counts.confusions, best_counts.confusions], format="csr")
    width = counts.confusions.shape[1]
    parts = [
        counts.values(flat[:, :width]) - best_counts.values(flat[:, width:])
        for flat in bootstrap_confusions(both, SAMPLES)
    ]
    low, high = span(np.concatenate(parts), sure)
    return found | {"difference_low": low, "difference_high": high}
