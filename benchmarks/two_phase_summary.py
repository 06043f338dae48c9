"""What the two-phase runs say: ratios within each round, and whether they were at equal accuracy."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Run:
    """answers: int64 [n], the class numbers given to the test images. epochs_s: the part of `wall_s` that epochs took."""

    wall_s: float
    cpu_s: float
    answers: np.ndarray
    epochs_s: float


@dataclass(frozen=True)
class Truth:
    """Of the test images: class numbers int64 [n], and who belongs together."""

    targets: np.ndarray
    families: np.ndarray
    classes: int


def summary(found: Mapping[str, Sequence[Run]], truth: Truth) -> dict[str, Any]:
    """found: the rounds of `ours`, `plain` and `fresh`. Medians of the ratios within each round, mean accuracies."""
    low, high = _gain(found["ours"], found["plain"], truth)
    accuracies = {name: statistics.mean(accuracy(run, truth) for run in runs) for name, runs in found.items()}
    return {
        "two_phase_speedup": _ratio(found["plain"], found["ours"], "wall_s"),
        "two_phase_speedup_epochs": _ratio(found["plain"], found["ours"], "epochs_s"),
        "two_phase_cpu_ratio": _ratio(found["plain"], found["ours"], "cpu_s"),
        "two_phase_accuracy_ours": round(accuracies["ours"], 4),
        "two_phase_accuracy_plain": round(accuracies["plain"], 4),
        "two_phase_accuracy_gain": round(accuracies["ours"] - accuracies["plain"], 4),
        "two_phase_accuracy_gain_low": round(low, 4),
        "two_phase_accuracy_gain_high": round(high, 4),
        "two_phase_speedup_fresh": _ratio(found["plain"], found["fresh"], "wall_s"),
        "two_phase_cpu_ratio_fresh": _ratio(found["plain"], found["fresh"], "cpu_s"),
        "two_phase_accuracy_fresh": round(accuracies["fresh"], 4),
        "two_phase_wall_s": {name: round(statistics.median(r.wall_s for r in runs), 1) for name, runs in found.items()},
        "two_phase_epochs_s": {
            name: round(statistics.median(r.epochs_s for r in runs), 1) for name, runs in found.items()
        },
        "two_phase_cpu_s": {name: round(statistics.median(r.cpu_s for r in runs), 1) for name, runs in found.items()},
    }


def _ratio(peer: Sequence[Run], ours: Sequence[Run], what: str) -> float:
    pairs = zip(peer, ours, strict=True)
    return round(statistics.median(getattr(a, what) / getattr(b, what) for a, b in pairs), 3)


def accuracy(run: Run, truth: Truth) -> float:
    return float(np.mean(run.answers == truth.targets))


def _gain(ours: Sequence[Run], plain: Sequence[Run], truth: Truth) -> tuple[float, float]:
    """Of accuracy, over all rounds; families take their images of every round along."""
    from benchmarks.gain import gain_interval
    from vision.evaluation.resampling import family_confusions

    rounds = len(ours)
    targets, families = np.tile(truth.targets, rounds), np.tile(truth.families, rounds)
    counts = [
        family_confusions(targets, np.concatenate([run.answers for run in runs]), families, truth.classes)
        for runs in (ours, plain)
    ]
    return gain_interval(*counts, truth.classes, "accuracy")


def verdict(result: Mapping[str, Any]) -> str:
    """One line: is the speedup one at equal accuracy?"""
    gain, low, high = (100 * result[f"two_phase_accuracy_gain{end}"] for end in ("", "_low", "_high"))
    points = f"{gain:+.1f} points (95 % {low:+.1f} to {high:+.1f}) against the plain loop"
    if high < 0:
        return f"NOT AT EQUAL ACCURACY: ours is WORSE, {points}"
    if low > 0:
        return f"accuracy: ours is better, {points}"
    return f"accuracy: no difference shown, ours {points}"


def show(found: Mapping[str, Sequence[Run]], truth: Truth) -> str:
    """The last round."""
    last = {name: runs[-1] for name, runs in found.items()}
    return ", ".join(
        f"{name} {run.wall_s:.1f} s ({run.epochs_s:.1f} in epochs) {run.cpu_s:.1f} cpu-s accuracy {accuracy(run, truth):.3f}"
        for name, run in last.items()
    )
