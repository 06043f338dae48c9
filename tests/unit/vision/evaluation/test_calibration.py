import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vision.evaluation import calibration

LOGITS = arrays(np.float32, (12, 4), elements=st.floats(-30, 30, width=32))


def drawn_logits(count, scale, seed=0):
    """Logits whose own softmax is the truth, made `scale` times too sure; and targets drawn from that truth."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (count, 4))
    uniform = rng.random((count, 1))
    return logits * scale, (calibration.softmax(logits).cumsum(axis=1) < uniform).sum(axis=1)


@settings(max_examples=40, deadline=None)
@given(LOGITS, st.floats(0.05, 20))
def test_temperature_never_changes_the_answer(logits, temperature):
    probabilities = calibration.softmax(logits, temperature)
    place = np.arange(len(logits))
    assert np.array_equal(
        probabilities[place, logits.argmax(axis=1)], probabilities.max(axis=1)
    )  # a tie may fall either way
    assert np.allclose(probabilities.sum(axis=1), 1)


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_the_fitted_temperature_undoes_a_known_overconfidence(scale):
    logits, targets = drawn_logits(4000, scale)
    assert calibration.fit_temperature(logits, targets) == pytest.approx(scale, rel=0.08)


def test_the_fitted_temperature_lowers_the_calibration_error_on_other_images():
    logits, targets = drawn_logits(3000, 3.0)
    temperature = calibration.fit_temperature(logits[:1500], targets[:1500])
    errors = []
    for divisor in (1.0, temperature):
        found = calibration.softmax(logits[1500:], divisor)
        errors.append(calibration.expected_calibration_error(found.max(axis=1), found.argmax(axis=1) == targets[1500:]))
    assert errors[1] < 0.4 * errors[0]


def test_a_validation_split_without_errors_does_not_make_every_answer_certain():
    logits = np.eye(4)[np.arange(40) % 4] * 3
    temperature = calibration.fit_temperature(logits, np.arange(40) % 4)
    assert 0.95 < calibration.softmax(logits, temperature).max() < 0.99  # 40 of 40 right is not certainty
    assert calibration.fit_temperature(np.empty((0, 4)), np.empty(0, int)) == 1.0


@settings(max_examples=50, deadline=None)
@given(arrays(float, 30, elements=st.floats(0, 1)), arrays(bool, 30))
def test_calibration_error_lies_between_zero_and_one_and_no_image_is_lost(confidence, right):
    assert 0 <= calibration.expected_calibration_error(confidence, right) <= 1
    assert calibration.reliability_bins(confidence, right)["images"].sum() == 30


def test_calibration_error_is_the_weighted_gap_of_the_bins():
    confidence, right = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55]), np.array([1, 1, 1, 0, 1, 0], bool)
    wanted = 4 / 6 * abs(0.75 - 0.95) + 2 / 6 * abs(0.5 - 0.55)
    assert calibration.expected_calibration_error(confidence, right) == pytest.approx(wanted)


@settings(max_examples=40, deadline=None)
@given(arrays(float, 25, elements=st.floats(0, 1)), arrays(bool, 25))
def test_a_higher_threshold_answers_less_and_catches_more(confidence, right):
    table = calibration.threshold_table(confidence, right)
    assert (table["coverage"].diff().dropna() <= 0).all()
    assert (table["errors_caught"].diff().dropna() >= 0).all()
    assert table["coverage"].iloc[0] == 1


def test_a_threshold_says_what_it_costs_and_saves():
    confidence, right = np.array([0.9, 0.8, 0.7, 0.6]), np.array([1, 1, 0, 0], bool)
    row = calibration.threshold_table(confidence, right, np.array([0.7])).iloc[0]
    assert row.to_dict() == pytest.approx(
        {"threshold": 0.7, "coverage": 0.75, "accuracy": 2 / 3, "errors_caught": 0.5, "right_withheld": 0.0}
    )
    assert calibration.separation(confidence, right) == 1.0
