"""Tests of many columns at once, with one p-value that holds over all of them.

Every column is a few scores a row, and its statistic the squared distance of the window's mean scores from the reference's,
each over the variance that it has without drift (Hotelling's T2: the scores are uncorrelated). With a weight for each row,
1/n in the window and -1/m in the reference, thousands of permutations are one matrix product.

The columns' statistics are put on one scale (the upper tail of a Pearson III curve through the first three moments of each
column's permutations: Minas & Montana 2014, arXiv:1305.0175), and the smallest tail over the columns is compared with the
smallest tails of the same permutations (Westfall & Young 1993), so that columns that say the same thing are not paid for
twice. The curve sets only the weight of the columns against each other: p-values are counts of permutations.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from vision.monitoring.family_bootstrap import FamilyDraws, family_draws, family_gaps

LEAST_SKEW = 0.02
"""Pearson III at no skew is the normal curve, where its formula divides by zero."""


@dataclass(frozen=True)
class Column:
    """One thing that is tested. `scores`: float32 [N, K] of the N rows in `has`, orthogonal, each of mean square 1."""

    name: str
    scores: np.ndarray
    has: np.ndarray
    """bool [rows of reference and window]: where the column has a value."""


@dataclass(frozen=True)
class Null:
    """How weights come about without drift. `families`: of the reference's rows, int [R]; None: rows are exchangeable."""

    reference_rows: int
    permutations: int
    seed: int
    families: np.ndarray | None = None

    def drawn(self, has: np.ndarray) -> "Drawn":
        """has: bool [all rows]. The same keys for every column: one with gaps is permuted among the rows that have it,
        which is exact for itself and keeps its dependence on the others."""
        inside = has[: self.reference_rows]
        rows, window_rows = int(inside.sum()), int(has[self.reference_rows :].sum())
        keys = np.random.default_rng(self.seed).random((self.permutations, has.size), dtype=np.float32)
        weights = permuted(keys[:, has], rows)
        if self.families is None:
            return Drawn(weights, None)
        return Drawn(weights, family_draws(self.families[inside], window_rows, self.permutations, self.seed))


@dataclass(frozen=True)
class Drawn:
    """Null draws. `weights`: of permutations, float32 [B, N]; `families`: as many of families, where there are any."""

    weights: np.ndarray
    families: FamilyDraws | None


@dataclass(frozen=True)
class Tested:
    """Of C columns: statistic, p_value (a column alone), p_corrected (over all columns), float64 [C]."""

    statistic: np.ndarray
    p_value: np.ndarray
    p_corrected: np.ndarray


def compare_columns(columns: Sequence[Column], null: Null) -> Tested:
    """The first `null.reference_rows` rows are the reference, the others the window."""
    found: dict[bytes, Drawn] = {}
    values = []
    for column in columns:
        mask = column.has.tobytes()
        if mask not in found:
            found[mask] = null.drawn(column.has)
        values.append(statistics(column, found[mask], null.reference_rows))
    return corrected(np.array(values))


def statistics(column: Column, drawn: Drawn, reference_rows: int) -> np.ndarray:
    """T2 as observed, then of each null draw: float64 [1 + B].

    Of two kinds of draws the larger T2 counts: families know how values of the reference go together, and nothing of
    values that it never had, which permutations know.
    """
    real = real_weights(column.has, reference_rows)
    observed, gaps = real @ column.scores, drawn.weights @ column.scores
    single = float(real.max() - real.min())
    if drawn.families is None:
        return np.r_[_t2(observed, single), _t2(gaps, single)]
    rows = len(drawn.families.families)
    of_families = family_gaps(drawn.families, column.scores[:rows])
    # A window's mean varies as the reference's does, over its own rows; no variance is taken for less than single rows'.
    scale = single * rows
    variance, variances = (np.maximum(scale * found, single) for found in (of_families.variance, of_families.variances))
    null = np.maximum(_t2(of_families.drawn, variances), _t2(gaps, variance))
    return np.r_[_t2(observed, variance), null]


def _t2(gaps: np.ndarray, variances: np.ndarray | float) -> np.ndarray:
    return (np.square(gaps.astype(np.float64)) / variances).sum(axis=-1)


def real_weights(has: np.ndarray, reference_rows: int) -> np.ndarray:
    """float32 [N]"""
    rows = int(has[:reference_rows].sum())
    window_rows = int(has.sum()) - rows
    return np.repeat(np.array([-1 / rows, 1 / window_rows], np.float32), (rows, window_rows))


def permuted(keys: np.ndarray, reference_rows: int) -> np.ndarray:
    """keys: random [B, N] -> float32 [B, N]: the rows with the smallest keys are the window."""
    rows = keys.shape[1]
    window_rows = rows - reference_rows
    drawn = np.full(keys.shape, -1 / reference_rows, np.float32)
    chosen = np.argpartition(keys, window_rows - 1, axis=1)[:, :window_rows]
    np.put_along_axis(drawn, chosen, np.float32(1 / window_rows), axis=1)
    return drawn


def corrected(values: np.ndarray) -> Tested:
    """values: float64 [C, 1 + B], the first of each column as observed."""
    tails = np.array([tail(row) for row in values])
    smallest = tails.min(axis=0)
    return Tested(
        statistic=values[:, 0],
        p_value=np.array([np.mean(row <= row[0]) for row in tails]),
        p_corrected=np.array([np.mean(smallest <= row[0]) for row in tails]),
    )


def tail(values: np.ndarray) -> np.ndarray:
    """Log of the upper tail at each value, of the Pearson III curve through the moments of all but the first: [1 + B].

    The first is the window as observed. A far one would bend the curve that it is measured by.
    """
    null = values[1:]
    spread = null.std() or 1.0
    # Sums in another order differ in the last digits: equal ones shall tie.
    z = np.round((values - null.mean()) / spread, 6)
    shape = 4 / max(float(np.mean(z[1:] ** 3)), LEAST_SKEW) ** 2
    with np.errstate(divide="ignore"):
        logs = np.log(special.gammaincc(shape, np.maximum(shape + z * np.sqrt(shape), 0)))
    # Beyond what a float can hold, larger is still less likely.
    return np.where(np.isfinite(logs), logs, -1e6 - z)
