import numpy as np
import pytest

from configs.monitoring import MonitorConfig
from vision.monitoring.columns import pairs
from vision.monitoring.error_rates import detectable_shift, measure_false_alarms, null_windows
from vision.monitoring.trials import shifted

CONFIG = MonitorConfig(alpha=0.02)


def test_false_alarms_come_with_their_interval_and_with_the_rate_of_alarms(draw_records):
    found = measure_false_alarms(draw_records(400, 0), 200, CONFIG, windows=25)
    assert (found.windows, found.rows, found.reference_rows) == (25, 200, 200)
    assert found.low <= found.rate == found.alarms / 25 <= found.high
    assert found.rate < 0.2
    # 2 of 3 windows: 3 p^2 - 2 p^3 if they are independent, 3 p / 2 at most if they are not.
    assert found.per_alarm == pytest.approx(3 * found.rate**2 - 2 * found.rate**3)
    assert found.per_alarm_at_most == pytest.approx(1.5 * found.high)


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


def test_a_reference_that_cannot_be_halved_is_refused(draw_records):
    with pytest.raises(ValueError, match="39 rows"):
        measure_false_alarms(draw_records(39, 0), 200, CONFIG)
