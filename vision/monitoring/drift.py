"""Has what is served moved away from what the model was tested on? One test a column, one p-value over all of them.

What it does not know: which images of a window belong together (`vision.monitoring.families` says what is assumed).
"""

from typing import Literal, Protocol

import numpy as np
import pandas as pd

from vision.errors import MachineError, UserError
from vision.monitoring.columns import MIN_ROWS, Pair, column, pairs, untested
from vision.monitoring.effects import effect
from vision.monitoring.families import families_of, sample_families
from vision.monitoring.permutation import Null, compare_columns
from vision.settings import Section

METHODS = {
    "number": "permutation test of ranks, orthogonal polynomials to degree 4",
    "category": "permutation chi-squared",
    "embedding": "permutation Hotelling's T2 of the whitened embedding",
}


class ColumnTest(Section):
    name: str
    kind: Literal["number", "category", "embedding"]
    method: str
    statistic: float
    """T2 of the window's mean scores; about the number of scores (degrees of freedom) without drift; 0 where not tested."""
    p_value: float
    """Of this column alone; 1 where it is not tested."""
    p_corrected: float
    """Over all columns: the chance that any column of a window without drift looks as unlikely as this one."""
    effect: float
    """number: shift of the mean in standard deviations of the reference. category: Cramer's V. embedding: MMD."""
    drifted: bool
    rows: int
    """Rows of the window that have a value."""
    note: str = ""
    """Why it is not tested; or which classes the reference never had."""


class DriftResult(Section):
    drifted: bool
    p_value: float
    """The smallest corrected p-value."""
    alpha: float
    rows: int
    """Rows of the window that were tested: all, or a random `max_rows`."""
    window_rows: int
    reference_rows: int
    """Rows of the reference that were tested: all, or random families of at most `max_rows` rows."""
    tests: tuple[ColumnTest, ...]

    @property
    def drifted_columns(self) -> tuple[str, ...]:
        return tuple(test.name for test in self.tests if test.drifted)


class DriftConfig(Protocol):
    """As far as `configs.monitoring.MonitorConfig` is needed here."""

    alpha: float
    permutations: int
    max_rows: int
    min_window: int


def find_drift(reference: pd.DataFrame, window: pd.DataFrame, config: DriftConfig, seed: int = 0) -> DriftResult:
    """reference: a package's `reference.parquet`. window: a table as `vision.records_read.read_records` makes it.

    The same seed gives the same result to the last digit. Raises `UserError` for a window below `min_window`,
    `MachineError` for a reference too small.
    """
    if len(window) < config.min_window:
        raise UserError(f"a window of {len(window)} records", f"at least {config.min_window}", "wait for more records")
    if len(reference) < MIN_ROWS:
        raise MachineError(
            f"a reference of {len(reference)} images", f"at least {MIN_ROWS}", "hold more images back (data.split)"
        )
    taken = sample_families(reference, config.max_rows, seed), sample(window, config.max_rows, seed)
    return judge(*taken, config, seed).model_copy(update={"window_rows": len(window)})


def judge(reference: pd.DataFrame, window: pd.DataFrame, config: DriftConfig, seed: int) -> DriftResult:
    """All rows as they are given, few or many."""
    found = pairs(reference, window)
    notes = [untested(pair) for pair in found]
    asked = [pair for pair, note in zip(found, notes, strict=True) if note is None]
    tested = {}
    if asked:
        null = Null(len(reference), config.permutations, seed, families_of(reference))
        result = compare_columns([column(pair) for pair in asked], null)
        numbers = zip(result.statistic, result.p_value, result.p_corrected, strict=True)
        tested = {pair.name: tuple(map(float, row)) for pair, row in zip(asked, numbers, strict=True)}
    tests = tuple(
        _test(pair, tested.get(pair.name), note or "", config.alpha) for pair, note in zip(found, notes, strict=True)
    )
    p_value = min((test.p_corrected for test in tests), default=1.0)
    return DriftResult(
        drifted=p_value <= config.alpha,
        p_value=p_value,
        alpha=config.alpha,
        rows=len(window),
        window_rows=len(window),
        reference_rows=len(reference),
        tests=tests,
    )


def sample(rows: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    """A random `most` of them, in their order; all, when there are no more."""
    if len(rows) <= most:
        return rows
    return rows.iloc[np.sort(np.random.default_rng(seed).choice(len(rows), most, replace=False))]


def _test(pair: Pair, tested: tuple[float, float, float] | None, note: str, alpha: float) -> ColumnTest:
    statistic, p_value, p_corrected = tested or (0.0, 1.0, 1.0)
    return ColumnTest(
        name=pair.name,
        kind=pair.kind,
        method=METHODS[pair.kind] if tested else "not tested",
        statistic=statistic,
        p_value=p_value,
        p_corrected=p_corrected,
        effect=effect(pair) if tested else 0.0,
        drifted=p_corrected <= alpha,
        rows=len(pair.window),
        note=note or _never_seen(pair),
    )


def _never_seen(pair: Pair) -> str:
    """Classes of the window that the reference has not."""
    if pair.kind != "category":
        return ""
    new, counts = np.unique(pair.window[~np.isin(pair.window, pair.reference)], return_counts=True)
    said = ", ".join(f"{name} ({count})" for name, count in zip(new, counts, strict=True))
    return f"never in the reference: {said}" if said else ""
