"""Windows and references of whole families, drawn from the reference with replacement: what no drift looks like.

Few families, some of them large, say little about how much their own mean varies, and a null distribution that takes that
for known alarms ten times as often as stated. So every draw is divided by the variance that its own families give
(bootstrap-t: Hall 1992; of clusters Cameron, Gelbach & Miller 2008), by the jackknife over families, which bears with
unequal ones best (MacKinnon, Nielsen & Webb 2023, arXiv:2205.03285).
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class FamilyDraws:
    """`families`: number of each of the reference's rows, int [R]. `window`, `reference`: float32 [B, families], how often
    each family was drawn, over the rows drawn."""

    families: np.ndarray
    window: np.ndarray
    reference: np.ndarray


@dataclass(frozen=True)
class Gaps:
    """Of K scores. `drawn`: float64 [B, K], mean of a drawn window less that of its drawn reference. `variance`: of the
    mean of the reference itself, [K]; `variances`: of each drawn one, [B, K]."""

    drawn: np.ndarray
    variance: np.ndarray
    variances: np.ndarray


def family_draws(families: np.ndarray, window_rows: int, draws: int, seed: int) -> FamilyDraws:
    rng = np.random.default_rng(seed)
    # A column with gaps may lack some of the families.
    _, families = np.unique(families, return_inverse=True)
    sizes = np.bincount(families)
    window = _drawn(sizes, window_rows, draws, rng)
    return FamilyDraws(families, window, _drawn(sizes, len(families), draws, rng))


def family_gaps(draws: FamilyDraws, scores: np.ndarray) -> Gaps:
    """scores: float32 [R, K] of the reference."""
    sizes = np.bincount(draws.families).astype(np.float32)
    sums = np.zeros((len(sizes), scores.shape[1]), np.float32)
    np.add.at(sums, draws.families, scores)
    as_it_is = np.full((1, len(sizes)), 1 / len(scores), np.float32)
    return Gaps(
        drawn=((draws.window - draws.reference) @ sums).astype(np.float64),
        variance=_variance(as_it_is, sums, sizes)[0],
        variances=_variance(draws.reference, sums, sizes),
    )


def _variance(weights: np.ndarray, sums: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Jackknife variance of the mean when families have `weights` [B, F]: float64 [B, K].

    Without family f the mean m moves by (m size - sum) / (rows - size); their squares, multiplied out, are three products.
    """
    rows = sizes.sum()
    # One family alone leaves no rows: its deviation is 0 then, and so is its share.
    share = 1 / np.maximum(1 - sizes / rows, 1 / rows)[:, None] ** 2
    mean, size = weights @ sums, sizes[:, None]
    squares, crossed, sized = weights @ (share * sums**2), weights @ (share * sums * size), weights @ (share * size**2)
    return np.maximum(squares - 2 * mean * crossed + mean**2 * sized, 0).astype(np.float64) / rows


def _drawn(sizes: np.ndarray, rows: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """float32 [B, families]: how often each family was drawn, over the rows drawn; families until there are `rows`."""
    # Twice as many as needed on average, so that hardly a draw ends short; one that does is a smaller window.
    length = int(np.ceil(2 * rows / sizes.mean())) + 1
    chosen = rng.integers(len(sizes), size=(draws, length))
    ends = np.cumsum(sizes[chosen], axis=1)
    kept = ends - sizes[chosen] < rows
    places = (chosen + np.arange(draws)[:, None] * len(sizes))[kept]
    counts = np.bincount(places, minlength=draws * len(sizes)).reshape(draws, len(sizes)).astype(np.float32)
    return counts / (counts @ sizes.astype(np.float32))[:, None]
