"""How large a change is, beside how sure: a window of thousands makes a change certain that nobody would mind."""

import numpy as np

from vision.monitoring.columns import Pair, class_scores, whitened

KERNEL_ROWS = 1000
"""Rows of each side that the discrepancy is computed on, evenly spaced: its cost grows with their square."""


def effect(pair: Pair) -> float:
    """number: shift of the mean in standard deviations of the reference; category: Cramer's V; embedding: MMD."""
    return {"number": mean_shift, "category": cramers_v, "embedding": discrepancy}[pair.kind](pair)


def mean_shift(pair: Pair) -> float:
    """Glass's delta. Where the reference never varied, the standard deviation is that of both together."""
    spread = float(pair.reference.std()) or float(pair.values[pair.has].std())
    return float(pair.window.mean() - pair.reference.mean()) / spread if spread else 0.0


def cramers_v(pair: Pair) -> float:
    """Square root of chi-squared over the rows: 0 the same shares, 1 no class in common."""
    scores = class_scores(pair.values[pair.has])
    size = len(pair.reference)
    gap = scores[size:].mean(axis=0) - scores[:size].mean(axis=0)
    share = size / len(scores)
    return float(np.sqrt(share * (1 - share) * float(gap @ gap)))


def discrepancy(pair: Pair) -> float:
    """Maximum mean discrepancy of the whitened embedding, 0 (the same) to 1, Gaussian kernel of median width: the root of
    the unbiased estimate, 0 where that is negative (Gretton et al. 2012, JMLR 13, equation 3).
    """
    reference, window = _spaced(pair.reference), _spaced(pair.window)
    gram, size = kernel(whitened(np.vstack([reference, window]))), len(reference)
    inside, outside = gram[size:, size:], gram[:size, :size]
    within = sum((part.sum() - np.trace(part)) / (len(part) * (len(part) - 1)) for part in (inside, outside))
    return float(np.sqrt(max(within - 2 * gram[size:, :size].mean(), 0)))


def kernel(rows: np.ndarray) -> np.ndarray:
    """[N, D] -> float64 [N, N]"""
    rows = rows.astype(np.float64)
    norms = np.einsum("nd,nd->n", rows, rows)
    squared = np.maximum(norms[:, None] + norms[None, :] - 2 * rows @ rows.T, 0)
    return np.exp(-squared / (np.median(squared[np.triu_indices_from(squared, 1)]) or 1.0))


def _spaced(rows: np.ndarray) -> np.ndarray:
    return rows[:: int(np.ceil(len(rows) / KERNEL_ROWS))]
