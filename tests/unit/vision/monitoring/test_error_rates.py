import numpy as np
import pytest

from configs.monitoring import MonitorConfig
from vision.monitoring.columns import pairs
from vision.monitoring.error_rates import _called, can_be_halved, detectable_shift, measure_false_alarms, null_windows
from vision.monitoring.trials import shifted

CONFIG = MonitorConfig(alpha=0.02)


def test_false_alarms_come_with_their_interval_and_with_the_rate_of_alarms(draw_records):
    found = measure_false_alarms(draw_records(400, 0), 200, CONFIG, windows=25)
    assert (found.windows, found.rows, found.reference_rows) == (25, 200, 200)
    assert found.low <= found.rate == found.alarms / 25 <= found.high
    assert found.rate < 0.2
    assert found.per_alarm_at_most == found.high


def test_the_rate_of_alarms_is_that_of_the_monitors_own_rule(draw_records):
    """A window that changed, one of the two before it or both: if they are independent, p (1 - (1 - p)^2)."""
    found = measure_false_alarms(draw_records(300, 0), 100, MonitorConfig(alpha=0.3), windows=25)
    changed = np.random.default_rng(0).random(200_000) < found.rate
    count = changed[2:] + changed[1:-1].astype(int) + changed[:-2]
    assert found.rate > 0.1
    assert found.per_alarm == pytest.approx(np.mean(changed[2:] & (count >= 2)), abs=0.005)
    assert found.per_alarm <= found.per_alarm_at_most


def test_a_class_whose_families_are_all_in_the_window_is_no_unseen_class(draw_records):
    rest, window = draw_records(200, 0), draw_records(100, 1)
    rest = rest[rest["label"] != "clean"]
    assert "unseen_class" not in _called(rest, window.drop(columns="id"), CONFIG, 0).causes


def test_whatever_can_call_a_window_changed_counts_as_a_false_alarm(draw_records):
    """The diagnosis beside the drift tests, labels among it, each with an error rate of its own."""
    laxer = MonitorConfig(alpha=0.3, accuracy_drop=0.001)
    found = measure_false_alarms(draw_records(300, 0), 100, laxer, windows=25)
    assert {"drift", "accuracy_drop"} <= set(found.causes)
    assert found.alarms > max(found.causes.values()), "no test alone says how often a window is called changed"
    assert sum(found.causes.values()) >= found.alarms


def test_windows_keep_families_together_and_take_at_most_half(draw_records):
    table = draw_records(300, 0).assign(family=[f"f{number // 3}" for number in range(300)])
    for rest, window in null_windows(table, 1000, CONFIG, 5, seed=1):
        assert not set(rest["family"]) & set(window["family"])
        assert len(rest) + len(window) == 300 and 150 <= len(window) <= 152


def test_a_larger_window_sees_a_smaller_shift(draw_records):
    reference = draw_records(800, 0)
    small, large = (
        {found.name: found for found in detectable_shift(reference, rows, CONFIG, windows=10)} for rows in (60, 400)
    )
    assert set(small) == {"file_bytes", "brightness", "contrast", "sharpness", "saturation", "warmth", "greenness",
                          "entropy", "noise", "answer_label", "answer_confidence", "embedding"}  # fmt: skip
    for name, found in large.items():
        assert found.rows == 400 and found.unit == ("share" if found.kind == "category" else "sd")
        assert found.shift is not None and found.power >= 0.95
        assert small[name].shift is None or found.shift <= small[name].shift
    assert large["brightness"].shift <= 0.5 < 0.6 <= small["brightness"].shift


def test_a_shift_is_put_into_the_window_alone(draw_records):
    reference, window = draw_records(100, 0), draw_records(60, 1)
    for pair in pairs(reference, window):
        moved = shifted(pair, 0.5, seed=2)
        assert (moved.reference == pair.reference).all()
        if pair.name == "brightness":
            assert np.abs(moved.window - pair.window) == pytest.approx(0.5 * pair.reference.std())
        if pair.name == "answer_confidence":
            assert moved.window.max() < 1
        if pair.name == "answer_label":
            assert 0.1 < (moved.window != pair.window).mean() < 0.6


def test_the_smallest_reference_that_can_be_halved_is_measured(draw_records):
    found = measure_false_alarms(draw_records(40, 0), 200, CONFIG, windows=20)
    assert (found.windows, found.rows) == (20, 20)


def test_a_reference_that_cannot_be_halved_is_refused(draw_records):
    with pytest.raises(ValueError, match="39 rows"):
        measure_false_alarms(draw_records(39, 0), 200, CONFIG)


def test_a_family_of_more_than_half_leaves_something_to_compare_with_or_that_is_said(draw_records):
    """It may be drawn last: then all families would be in the window."""
    large = draw_records(100, 0).assign(family=["run"] * 70 + ["a"] * 15 + ["b"] * 15)
    drawn = list(null_windows(large, 50, CONFIG, 30, 0))
    assert {len(rest) for rest, _ in drawn} == {30} and {len(window) for _, window in drawn} == {70}
    assert can_be_halved(large) and not can_be_halved(large[:89]) and not can_be_halved(large[:70])
    with pytest.raises(ValueError, match="can't be halved"):
        measure_false_alarms(large[:89], 50, CONFIG, windows=2)
