"""How often the monitor cries wolf on this system, and how small a change it sees: measured on held-back images.

A false alarm is a window without any change that is called changed, by whatever can do so: the drift tests, or a cause of the
diagnosis. Every answer of such a window has its label, so that the tests on labels count as well.

Windows are drawn from the reference itself, by whole families, and judged against the families that are left. Of a window
larger than half of the reference that can't be had: then half is taken, and `rows` says so. Windows overlap, so the
interval (Clopper & Pearson 1934) is narrower than that of as many new windows would be. And they do not show how far the
reference itself, one draw, lies from what is served without a change: docs/drift.md has measured that.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Literal, NamedTuple, Protocol

import numpy as np
import pandas as pd
from scipy import stats

from vision.monitoring.columns import MIN_ROWS, Pair
from vision.monitoring.diagnosis import DiagnosisConfig, diagnose
from vision.monitoring.drift import DriftConfig, DriftResult
from vision.monitoring.families import families_of, sample_families
from vision.monitoring.trials import SHARES, SHIFTS, Trial
from vision.settings import Section

CONFIDENCE = 0.95
EXTREME = 3
"""Null draws of a window, itself among them, that may be as extreme as itself: 3 of 600 at alpha 0.005. Fewer draws make as
many verdicts against windows without drift as thousands do, since alpha stays a whole number of them."""
SHIFT_PERMUTATIONS = 499
"""Of each window that is shifted: the tails of all of them together say what a column must stay below."""
POWER = 0.95
DRIFT = "drift"
TRIES = 1000


class AlarmConfig(DiagnosisConfig, Protocol):
    """As far as `configs.monitoring.MonitorConfig` is needed here."""

    null_windows: int
    alarm_windows: int
    of_windows: int


class FalseAlarms(Section):
    windows: int
    alarms: int
    """Windows without any change that were called changed."""
    causes: dict[str, int] = {}
    """By what called them so: "drift" (the tests of columns) and causes of the diagnosis. A window may have several."""
    rate: float
    low: float
    high: float
    """Clopper-Pearson's interval, 95 %."""
    per_alarm: float
    """Share of windows that are an alarm (changed, and k of the last n with it) where windows are independent."""
    per_alarm_at_most: float
    """The same, whatever the windows have to do with each other: `high`, as an alarm's own window changed. All are compared with one
    reference, so for windows like the drawn ones the truth lies between."""
    rows: int
    reference_rows: int
    """Of one window and of what it was compared with, about: families are kept together."""


class DetectableShift(Section):
    name: str
    kind: Literal["number", "category", "embedding"]
    unit: Literal["sd", "share"]
    """sd: every value moves by so many standard deviations, away from where values crowd; an embedding in a random
    direction. share: so many of the rows turn into the rarest class of the reference."""
    shift: float | None
    """The smallest of a grid that is found in 95 % of the windows; None where none of the grid is."""
    power: float
    """Share of windows in which it was found; where none was, at the largest of the grid."""
    rows: int


def measure_false_alarms(
    reference: pd.DataFrame, rows: int, config: AlarmConfig, windows: int | None = None, seed: int = 0
) -> FalseAlarms:
    """rows: of one window. windows: how many are drawn, `config.null_windows` where none is said.

    About 0.06 s of CPU a window of 200, 0.1 s one of 1000. Raises `ValueError` for a reference that can't be halved.
    """
    drawn = null_windows(reference, rows, config, windows or config.null_windows, seed)
    found = [_called(*pair, config, seed + no) for no, pair in enumerate(drawn)]
    alarms = sum(bool(one.causes) for one in found)
    interval = stats.binomtest(alarms, len(found)).proportion_ci(CONFIDENCE, "exact")
    rate, (k, n) = alarms / len(found), (config.alarm_windows, config.of_windows)
    return FalseAlarms(
        windows=len(found),
        alarms=alarms,
        causes=dict(Counter(cause for one in found for cause in one.causes).most_common()),
        rate=rate,
        low=float(interval.low),
        high=float(interval.high),
        per_alarm=rate * float(stats.binom.sf(k - 2, n - 1, rate)),
        per_alarm_at_most=float(interval.high),
        rows=int(np.median([one.rows for one in found])),
        reference_rows=int(np.median([one.reference_rows for one in found])),
    )


class _Called(NamedTuple):
    causes: tuple[str, ...]
    rows: int
    reference_rows: int


def _called(rest: pd.DataFrame, window: pd.DataFrame, config: AlarmConfig, seed: int) -> _Called:
    """What calls the window changed; the null draws, megabytes of them, end with the call."""
    permutations = int(np.ceil(EXTREME / config.alpha)) - 1
    drifted = Trial(rest, window, permutations, seed).p_value <= config.alpha
    # The drift has been counted; asked is what the diagnosis finds besides.
    quiet = DriftResult(
        drifted=False, p_value=1.0, alpha=config.alpha, rows=len(window), window_rows=len(window),
        reference_rows=len(rest), tests=(),
    )  # fmt: skip
    served = window.assign(id=[str(number) for number in range(len(window))])
    said = served[["id", "label"]].assign(key_id="") if "label" in served else None
    # The model knows the window's classes, also one whose families are all in it.
    labels = sorted({*rest["label"], *window["label"]}) if "label" in window else []
    causes = diagnose(rest, served, quiet, said, config, labels).causes
    return _Called((DRIFT,) * drifted + causes, len(window), len(rest))


def null_windows(
    reference: pd.DataFrame, rows: int, config: DriftConfig, windows: int, seed: int
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """(reference, window) without drift: random families until there are `rows` (at most half), against all others."""
    if not can_be_halved(reference):
        raise ValueError(f"{len(reference)} rows, in families, can't be halved; {MIN_ROWS} are needed on either side")
    reference = sample_families(reference, 2 * config.max_rows, seed)
    wanted = min(rows, config.max_rows, len(reference) // 2)
    found = families_of(reference)
    families = np.arange(len(reference)) if found is None else found
    sizes = np.bincount(families)
    for no in range(windows):
        inside = np.isin(families, _drawn(sizes, wanted, np.random.default_rng((seed, no))))
        yield sample_families(reference[~inside], config.max_rows, seed + no), reference[inside]


def can_be_halved(reference: pd.DataFrame) -> bool:
    """Are there enough rows for a window and for what it is held against, whole families on either side?"""
    families = families_of(reference)
    largest = 1 if families is None else int(np.bincount(families).max())
    return len(reference) >= MIN_ROWS + max(MIN_ROWS, largest)


def _drawn(sizes: np.ndarray, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """Families until there are `wanted` rows. Drawn again where a large one has left too few for the other side."""
    for _ in range(TRIES):
        order = rng.permutation(len(sizes))
        chosen = order[np.cumsum(sizes[order]) - sizes[order] < wanted]
        if sizes.sum() - sizes[chosen].sum() >= MIN_ROWS:
            return chosen
    raise ValueError(f"no window of {wanted} rows leaves {MIN_ROWS}: families of up to {sizes.max()} rows")


def detectable_shift(
    reference: pd.DataFrame, rows: int, config: DriftConfig, seed: int = 0, windows: int = 40
) -> tuple[DetectableShift, ...]:
    """Of each column that varies: the smallest shift, put into windows without drift, that is found in 95 % of them.

    Found: the column's tail lies below the one that `alpha` of the null draws of all windows stay below, over all columns.
    """
    drawn = null_windows(reference, rows, config, windows, seed)
    trials = [Trial(rest, window, SHIFT_PERMUTATIONS, seed + no) for no, (rest, window) in enumerate(drawn)]
    limit = float(np.quantile(np.concatenate([trial.null_tails for trial in trials]), config.alpha))
    # A column may vary in some of the windows only.
    varying = {name: pair for trial in reversed(trials) for name, pair in trial.pairs.items()}
    return tuple(_smallest(trials, pair, limit) for pair in varying.values())


def _smallest(trials: list[Trial], pair: Pair, limit: float) -> DetectableShift:
    """By halving the grid: a larger shift is found no less often."""
    grid = SHARES if pair.kind == "category" else SHIFTS
    low, high, powers = -1, len(grid), {}
    while high - low > 1:
        middle = (low + high) // 2
        answers = [trial.finds(pair.name, grid[middle], limit) for trial in trials]
        powers[middle] = float(np.mean([answer for answer in answers if answer is not None]))
        low, high = (low, middle) if powers[middle] >= POWER else (middle, high)
    found = high < len(grid)
    return DetectableShift(
        name=pair.name,
        kind=pair.kind,
        unit="share" if pair.kind == "category" else "sd",
        shift=grid[high] if found else None,
        power=powers[high if found else len(grid) - 1],
        rows=len(pair.window),
    )
