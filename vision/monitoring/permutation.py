"""Tests of many columns at once, with one p-value that holds over all of them.

Every column is a few scores a row, and its statistic the squared distance of the window's mean scores from the reference's
(Hotelling's T2, with the covariance that the means have without drift). With a weight for each row, 1/n in the window and
-1/m in the reference, thousands of permutations are one matrix product.

The columns' statistics are put on one scale (the upper tail of a Pearson III curve through the first three moments of each
column's permutations: Minas & Montana 2014, arXiv:1305.0175), and the smallest tail over the columns is compared with the
smallest tails of the same permutations (Westfall & Young 1993), so that columns that say the same thing are not paid for
twice. The curve sets only the weight of the columns against each other: p-values are counts of permutations.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from vision.monitoring.families import family_draws

KEPT = 0.1
"""Share of the covariances between scores that counts where families are few: all would fit the draws themselves."""
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

    def weights(self, has: np.ndarray) -> list[np.ndarray]:
        """Of permutations, float32 [B, N]; then, where the reference has families, of these, [B, R] of its rows alone.

        has: bool [all rows]. The same keys for every column: one with gaps is permuted among the rows that have it, which
        is exact for itself and keeps its dependence on the others.
        """
        inside = has[: self.reference_rows]
        rows, window_rows = int(inside.sum()), int(has[self.reference_rows :].sum())
        keys = np.random.default_rng(self.seed).random((self.permutations, has.size), dtype=np.float32)
        drawn = [permuted(keys[:, has], rows)]
        if self.families is not None:
            drawn.append(family_draws(self.families[inside], window_rows, self.permutations, self.seed))
        return drawn


@dataclass(frozen=True)
class Tested:
    """Of C columns: statistic, p_value (a column alone), p_corrected (over all columns), float64 [C]."""

    statistic: np.ndarray
    p_value: np.ndarray
    p_corrected: np.ndarray


def compare_columns(columns: Sequence[Column], null: Null) -> Tested:
    """The first `null.reference_rows` rows are the reference, the others the window."""
    found: dict[bytes, list[np.ndarray]] = {}
    values = []
    for column in columns:
        mask = column.has.tobytes()
        if mask not in found:
            found[mask] = null.weights(column.has)
        values.append(statistics(column, found[mask], null.reference_rows))
    return corrected(np.array(values))


def statistics(column: Column, drawn: Sequence[np.ndarray], reference_rows: int) -> np.ndarray:
    """T2 as observed, then of each null draw: float64 [1 + B]. drawn: as `Null.weights` gives them.

    Of two kinds of draws the larger T2 counts: families know how values of the reference go together, and nothing of
    values that it never had, which permutations know.
    """
    real = real_weights(column.has, reference_rows)
    gaps = [(weights @ column.scores[: weights.shape[1]]).astype(np.float64) for weights in drawn]
    scaled = inverse_root(covariance(gaps[-1]), least=float(real.max() - real.min()))
    null = np.max([np.square(gap @ scaled).sum(axis=1) for gap in gaps], axis=0)
    observed = np.square((real @ column.scores).astype(np.float64) @ scaled).sum()
    return np.r_[observed, null]


def covariance(gaps: np.ndarray) -> np.ndarray:
    """Of null draws [B, K] about 0, float64 [K, K], what lies off its diagonal shrunk to a share KEPT.

    Of single rows it is a multiple of the identity anyway.
    """
    full = gaps.T @ gaps / len(gaps)
    return KEPT * full + (1 - KEPT) * np.diag(np.diag(full))


def inverse_root(matrix: np.ndarray, least: float) -> np.ndarray:
    """[K, K] -> [K, K] that scales draws to unit variance; no variance is taken for less than `least`, that of single rows."""
    values, directions = np.linalg.eigh(matrix)
    return directions / np.sqrt(np.maximum(values, least))


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
