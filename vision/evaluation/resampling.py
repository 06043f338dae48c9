"""How sure a figure is: cluster bootstrap, paired randomisation, sign test, Wilson's interval, Holm's correction.

The unit is the family (images that were split together), not the image: ten shots of one leaf are nearly one
observation. Only counts are resampled (a [families, K * K] sparse table of confusions), so a thousand samples of 5,000
images take well under a second.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

Statistic = Callable[[np.ndarray], np.ndarray]
"""confusions [B, K, K] -> values [B]."""
CHUNK = 1_000_000
"""Numbers held at once by a resampling step."""


def family_confusions(targets: np.ndarray, answers: np.ndarray, families: np.ndarray, classes: int):
    """Sparse [F, K * K]: how often each family had each (true class, answer)."""
    from scipy import sparse

    numbers, names = pd.factorize(families)
    cells = np.asarray(targets) * classes + np.asarray(answers)
    ones = np.ones(len(cells))
    return sparse.csr_array((ones, (numbers, cells)), shape=(len(names), classes * classes))


def bootstrap_confusions(counts, samples: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Confusions [b, K, K] of `samples` draws of all families with replacement, in chunks.

    counts: sparse [F, K * K], or [F, m * K * K] for m models side by side, which then share each draw: [b, m * K, K].
    """
    families, rng = counts.shape[0], np.random.default_rng(seed)
    for size in _chunks(samples, max(counts.shape)):
        draws = rng.integers(families, size=(size, families)) + np.arange(size)[:, None] * families
        weights = np.bincount(draws.ravel(), minlength=size * families).reshape(size, families)
        yield (counts.T @ weights.T.astype(float)).T


def bootstrap(counts, classes: int, statistic: Callable, samples: int, seed: int = 0) -> pd.DataFrame:
    """`statistic` ([b, K, K] -> dict of [b]) of every bootstrap sample: a table with `samples` rows."""
    parts = [
        pd.DataFrame(statistic(flat.reshape(-1, classes, classes)))
        for flat in bootstrap_confusions(counts, samples, seed)
    ]
    return pd.concat(parts, ignore_index=True)


def bootstrap_difference(first, second, classes: int, statistic: Statistic, samples: int) -> np.ndarray:
    """[samples]: statistic(first) - statistic(second), both on the same resampled families."""
    from scipy import sparse

    cells, parts = classes * classes, []
    for flat in bootstrap_confusions(sparse.hstack([first, second], format="csr"), samples):
        one, two = flat[:, :cells], flat[:, cells:]
        parts.append(statistic(one.reshape(-1, classes, classes)) - statistic(two.reshape(-1, classes, classes)))
    return np.concatenate(parts)


def randomisation_p(first, second, classes: int, statistic: Statistic, samples: int, seed: int = 0) -> float:
    """One-sided p of `first` scoring above `second`: under the null, each family's two answers may change places.

    first, second: sparse [F, K * K] of the same families. Paired randomisation test (Fisher 1935; Monte Carlo p as
    Phipson and Smyth 2010); with the accuracy and families of one image it becomes McNemar's exact test.
    """

    def difference(one: np.ndarray, two: np.ndarray) -> np.ndarray:
        return statistic(one.reshape(-1, classes, classes)) - statistic(two.reshape(-1, classes, classes))

    first_sum, second_sum = np.asarray(first.sum(axis=0)), np.asarray(second.sum(axis=0))
    observed = difference(first_sum, second_sum)[0]
    change = (second - first).tocsr()
    change = change[np.flatnonzero(abs(change).sum(axis=1))]
    if change.shape[0] == 0:
        return 1.0
    rng, extreme = np.random.default_rng(seed), 0
    for size in _chunks(samples, max(change.shape)):
        swapped = (change.T @ rng.integers(2, size=(change.shape[0], size)).astype(float)).T
        extreme += int((difference(first_sum + swapped, second_sum - swapped) >= observed - 1e-12).sum())
    return (1 + extreme) / (1 + samples)


def sign_test_p(worse: np.ndarray, better: np.ndarray, families: np.ndarray) -> float:
    """One-sided p of "more worse than better": exact binomial over the families whose net change is not zero.

    worse, better: bool [N]. With families of one image this is McNemar's exact test (McNemar 1947).
    """
    from scipy.stats import binomtest

    net = pd.Series(np.asarray(worse, int) - np.asarray(better, int)).groupby(np.asarray(families)).sum()
    changed = int((net != 0).sum())
    return float(binomtest(int((net > 0).sum()), changed, 0.5, alternative="greater").pvalue) if changed else 1.0


def holm(p_values: np.ndarray) -> np.ndarray:
    """Adjusted p values (Holm 1979): reject those at or below the level."""
    order = np.argsort(p_values)
    steps = np.asarray(p_values, float)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def span(samples: np.ndarray, level: float) -> tuple[float, float]:
    """Percentile interval of bootstrap samples, NaN left out."""
    low, high = np.nanquantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def wilson(share: float, count: float, level: float) -> tuple[float, float]:
    """Wilson's score interval (1927) of a share seen in `count` observations, which need not be whole; NaN for none."""
    from scipy.stats import norm

    if not count > 0:
        return float("nan"), float("nan")
    z = norm.ppf((1 + level) / 2)
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return float(max(0.0, middle - half)), float(min(1.0, middle + half))


def effective_count(families: np.ndarray) -> float:
    """Kish's effective number of families, (sum m)^2 / sum m^2: what N images in groups of m are worth at the least."""
    sizes = pd.Series(families).value_counts().to_numpy(float)
    return float(sizes.sum() ** 2 / (sizes**2).sum()) if len(sizes) else 0.0


def _chunks(samples: int, width: int) -> Iterator[int]:
    step = max(1, CHUNK // max(1, width))
    yield from (min(step, samples - start) for start in range(0, samples, step))
