import numpy as np
import pandas as pd
import pytest

from configs.monitoring import MonitorConfig
from vision.monitoring.drift import find_drift
from vision.monitoring.family_bootstrap import family_draws, family_gaps

SIZES = np.array([1, 1, 2, 3, 5, 9])
FAMILIES = np.repeat(np.arange(len(SIZES)), SIZES)


def test_the_variance_of_a_mean_is_the_jackknife_over_families():
    scores = np.random.default_rng(0).standard_normal((len(FAMILIES), 3)).astype(np.float32)
    without = np.array([scores[family != FAMILIES].mean(axis=0) for family in range(len(SIZES))])
    gaps = family_gaps(family_draws(FAMILIES, 10, 50, seed=1), scores)
    assert gaps.variance == pytest.approx(np.square(without - scores.mean(axis=0)).sum(axis=0), rel=1e-3)
    assert gaps.drawn.shape == gaps.variances.shape == (50, 3)
    # Draws with replacement vary about as the mean of what they are drawn from.
    assert 0.3 < np.median(gaps.variances / gaps.variance) < 3


def test_draws_are_of_whole_families_until_there_are_enough_rows():
    draws = family_draws(FAMILIES + 7, 10, 200, seed=1)
    assert draws.window @ SIZES == pytest.approx(np.ones(200), rel=1e-5)
    # Drawn once, a family weighs one over the rows drawn: ten, and up to eight more to end the last family.
    rows = 1 / np.where(draws.window > 0, draws.window, np.inf).min(axis=1)
    assert rows.max() <= 18 + 1e-3
    assert (draws.window == 0).any() and draws.families.max() == len(SIZES) - 1


def test_one_family_alone_varies_by_nothing_and_breaks_nothing():
    gaps = family_gaps(family_draws(np.zeros(30, int), 10, 20, seed=1), np.ones((30, 2), np.float32))
    assert not gaps.variance.any() and not gaps.variances.any()


def in_families(table, rng, rows):
    """Families of 1, 2, 4 or 24 rows, nearly alike, until there are `rows`."""
    sizes = rng.choice([1, 2, 4, 24], len(table), p=[0.4, 0.35, 0.15, 0.1])
    sizes = sizes[np.cumsum(sizes) - sizes < rows]
    shots = table.loc[np.repeat(table.index[: len(sizes)], sizes)].reset_index(drop=True)
    numbers = shots.select_dtypes("number").columns.difference(["answer_confidence"])
    noise = 0.3 * rng.standard_normal((len(shots), len(numbers))) * table[numbers].std().to_numpy()
    return pd.concat([shots.drop(columns=numbers), shots[numbers] + noise], axis=1).assign(
        family=np.repeat(np.arange(len(sizes)), sizes)
    )


def test_few_families_of_unequal_size_are_called_drifted_about_as_often_as_stated(draw_records):
    config, rng = MonitorConfig(permutations=199, alpha=0.05), np.random.default_rng(3)
    alarms = 0
    for no in range(60):
        reference = in_families(draw_records(300, 2 * no), rng, 300)
        alarms += find_drift(reference, in_families(draw_records(200, 2 * no + 1), rng, 200), config, no).drifted
    # 0.05 of 60 is 3, and these seeds are fixed. Undivided by the variance of the drawn families it is 18.
    assert alarms < 9
