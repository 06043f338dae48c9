"""How often the drift test cries wolf on this system, and how small a change it sees: measured on held-back images.

Windows are drawn from the reference itself, by whole families, and judged against the families that are left. Of a window
larger than half of the reference that can't be had: then half is taken, and `rows` says so. Windows overlap, so the
interval (Clopper & Pearson 1934) is narrower than that of as many new windows would be.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from vision.monitoring.columns import MIN_ROWS, Pair
from vision.monitoring.drift import DriftConfig
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


class AlarmConfig(DriftConfig):
    """As far as `configs.monitoring.MonitorConfig` is needed here."""

    null_windows: int
    alarm_windows: int
    of_windows: int


class FalseAlarms(Section):
    windows: int
    alarms: int
    """Windows without drift that were called drifted."""
    rate: float
    low: float
    high: float
    """Clopper-Pearson's interval, 95 %."""
    per_alarm: float
    """Rate of alarms (k of the last n windows drifted) where windows are independent."""
    per_alarm_at_most: float
    """The same from `high`, whatever the windows have to do with each other (Markov: n high / k). All are compared with one
    reference, so the truth lies between."""
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

    About 0.03 s of CPU a window of 200, 0.2 s one of 2000. Raises `ValueError` for a reference of fewer than 2 x MIN_ROWS rows.
    """
    permutations = int(np.ceil(EXTREME / config.alpha)) - 1
    drawn = null_windows(reference, rows, config, windows or config.null_windows, seed)
    found = [_verdict(*pair, permutations, seed + no) for no, pair in enumerate(drawn)]
    p_values, window_rows, reference_rows = zip(*found, strict=True)
    alarms = int(np.sum(np.array(p_values) <= config.alpha))
    interval = stats.binomtest(alarms, len(found)).proportion_ci(CONFIDENCE, "exact")
    rate, (k, n) = alarms / len(found), (config.alarm_windows, config.of_windows)
    return FalseAlarms(
        windows=len(found),
        alarms=alarms,
        rate=rate,
        low=float(interval.low),
        high=float(interval.high),
        per_alarm=float(stats.binom.sf(k - 1, n, rate)),
        per_alarm_at_most=min(1.0, n * float(interval.high) / k),
        rows=int(np.median(window_rows)),
        reference_rows=int(np.median(reference_rows)),
    )


def _verdict(rest: pd.DataFrame, window: pd.DataFrame, permutations: int, seed: int) -> tuple[float, int, int]:
    """p-value, rows of the window and of its reference; the null draws, megabytes of them, end with the call."""
    trial = Trial(rest, window, permutations, seed)
    return trial.p_value, len(window), len(rest)


def null_windows(
    reference: pd.DataFrame, rows: int, config: DriftConfig, windows: int, seed: int
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """(reference, window) without drift: random families until there are `rows` (at most half), against all others."""
    if len(reference) < 2 * MIN_ROWS:
        raise ValueError(f"a reference of {len(reference)} rows can't be halved; {2 * MIN_ROWS} are needed")
    reference = sample_families(reference, 2 * config.max_rows, seed)
    wanted = min(rows, config.max_rows, len(reference) // 2)
    found = families_of(reference)
    families = np.arange(len(reference)) if found is None else found
    sizes = np.bincount(families)
    for no in range(windows):
        order = np.random.default_rng((seed, no)).permutation(len(sizes))
        before = np.cumsum(sizes[order]) - sizes[order]
        inside = np.isin(families, order[before < wanted])
        yield sample_families(reference[~inside], config.max_rows, seed + no), reference[inside]


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
