"""The stated error level holds though somebody looks after every answer, and differences that matter are found."""

import numpy as np
import pytest

from vision.monitoring.sequential import (
    SHARE,
    Span,
    compare_means,
    compare_rates,
    estimate_mean,
    estimate_rate,
    log_wealth_path,
)

PATHS, LOOKS = 400, 1500
SIGNS = Span(-1.0, 1.0)


def shares(rate):
    return np.random.default_rng(1).random((PATHS, LOOKS)) < rate


def signs(better, worse):
    return np.random.default_rng(2).choice([-1, 0, 1], p=[better, 1 - better - worse, worse], size=(PATHS, LOOKS))


def beaten(values, null, span, level):
    """Share of the paths on which the evidence ever speaks against `null`, and the median answer at which it does."""
    known = log_wealth_path(values, null, span) >= -np.log(level)
    ever = known.any(axis=1)
    return ever.mean(), np.median(known.argmax(axis=1)[ever] + 1) if ever.any() else None


@pytest.mark.parametrize(
    ("values", "null", "span"),
    [
        (shares(0.01), 0.01, SHARE),
        (shares(0.3), 0.3, SHARE),
        (signs(0.1, 0.12), 0.02, SIGNS),
        (np.clip(np.random.default_rng(3).normal(0.4, 0.5, (PATHS, LOOKS)), -2, 2), 0.4, Span(-2.0, 2.0)),
    ],
    ids=["failures", "disagreement", "accuracy", "time"],
)
@pytest.mark.parametrize("level", [0.05, 0.005])
def test_a_thousand_looks_at_a_harmless_challenger_keep_the_error_level(values, null, span, level):
    wrong, _ = beaten(values, null, span, level)
    # Three standard errors of what the simulation itself can tell.
    assert wrong <= level + 3 * np.sqrt(level * (1 - level) / PATHS)


@pytest.mark.parametrize(
    ("values", "null", "span", "most"),
    [
        (shares(0.1), 0.01, SHARE, 60),
        (shares(1.0), 0.01, SHARE, 2),
        (shares(0.5), 0.3, SHARE, 110),
        (signs(0.05, 0.25), 0.02, SIGNS, 180),
    ],
    ids=["a tenth fails", "all fail", "half disagrees", "20 points less accurate"],
)
def test_a_difference_that_matters_is_found_soon(values, null, span, most):
    found, median = beaten(values, null, span, 0.005)
    assert found == 1 and median <= most


def test_the_bound_is_where_the_wealth_says():
    values = shares(0.4)[0][:200]
    low = estimate_mean(values, 0.05).low
    assert log_wealth_path(values, low - 1e-6)[-1] > -np.log(0.05) > log_wealth_path(values, low + 1e-6)[-1]


def test_bounds_hold_the_mean_close_in_and_mirror_each_other():
    values = np.random.default_rng(4).random(500)
    found, mirrored = estimate_mean(values, 0.05), estimate_mean(1 - values, 0.05)
    assert found.low < 0.5 < found.high and found.count == 500
    assert found.high - found.low < estimate_mean(values[:50], 0.05).high - estimate_mean(values[:50], 0.05).low
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - found.high, 1 - found.low))


def test_the_order_of_the_values_changes_nothing():
    values = np.repeat([0.0, 1.0], [150, 50])
    assert estimate_mean(values, 0.05) == estimate_mean(values[::-1], 0.05) == estimate_rate(50, 200, 0.05)


def test_nothing_seen_is_nothing_known():
    found = estimate_rate(0, 0, 0.05)
    assert (found.value, found.low, found.high, found.count) == (None, 0.0, 1.0, 0)
    assert estimate_rate(0, 1000, 0.05).high < 0.01 and estimate_rate(0, 1000, 0.05).low == 0


def test_a_value_outside_its_span_is_refused():
    with pytest.raises(ValueError, match="outside"):
        estimate_mean([0.5, 1.5], 0.05)


def test_pairs_tell_sooner_than_two_rates():
    rng = np.random.default_rng(5)
    hard = rng.random(400)
    first, second = (hard < 0.4).astype(float), (hard < 0.2).astype(float)
    paired = compare_means(first, second, 0.05)
    apart = compare_rates((int(first.sum()), 400), (int(second.sum()), 400), 0.05)
    assert paired.value == pytest.approx(apart.value) and paired.low > apart.low
    assert compare_rates((0, 0), (3, 9), 0.05).value is None
