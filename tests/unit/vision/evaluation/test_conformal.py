"""Thresholds at a stated false-alarm rate, and how well a score ranks."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from vision.evaluation import conformal
from vision.evaluation.config import EvaluationConfig
from vision.evaluation.ranking import ranked_apart

CONFIG = EvaluationConfig(bootstrap_samples=400)


@pytest.mark.parametrize(("count", "rate"), [(19, 0.05), (40, 0.05), (40, 0.1), (200, 0.05)])
def test_no_more_further_normal_images_are_alarms_than_stated(count, rate):
    rng = np.random.default_rng(0)
    alarms = [float(rng.gamma(2.0) > conformal.threshold(rng.gamma(2.0, size=count), rate)) for _ in range(4000)]
    assert np.mean(alarms) <= rate + 3 * np.sqrt(rate * (1 - rate) / len(alarms))
    assert np.mean(alarms) >= rate - 1 / (count + 1) - 3 * np.sqrt(rate * (1 - rate) / len(alarms))


def test_five_percent_needs_nineteen_images():
    assert conformal.enough(19, 0.05) and not conformal.enough(18, 0.05)
    assert conformal.stated_rate(19, 0.05) == 0.05 and conformal.stated_rate(9, 0.05) == 0.1
    assert conformal.threshold(np.arange(9), 0.05) == 8


def test_area_under_the_curve_is_scikit_learns():
    rng = np.random.default_rng(1)
    positive, scores = rng.random(60) < 0.5, np.round(rng.normal(size=60), 1)
    scores[positive] += 1
    value, low, high = ranked_apart(scores, positive, np.arange(60), CONFIG)
    assert value == pytest.approx(roc_auc_score(positive, scores)) and low < value < high


def test_images_of_one_family_widen_the_interval():
    rng = np.random.default_rng(2)
    positive, scores = np.repeat(np.arange(20) % 2 == 1, 5), np.repeat(rng.normal(size=20), 5)
    scores[positive] += 1
    spreads = []
    for families in (np.arange(100), np.repeat(np.arange(20), 5)):
        _, low, high = ranked_apart(scores, positive, families, CONFIG)
        spreads.append(high - low)
    assert spreads[1] > 1.5 * spreads[0]


def test_a_faultless_order_of_few_images_is_no_proof():
    value, low, high = ranked_apart(np.arange(10), np.arange(10) >= 5, np.arange(10), CONFIG)
    assert value == high == 1.0 and low < 0.7


def test_one_class_alone_has_no_area():
    assert np.isnan(ranked_apart(np.arange(4), np.ones(4, bool), np.arange(4), CONFIG)).all()
