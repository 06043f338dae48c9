import numpy as np
import pandas as pd

from benchmarks.drift_judges import Windows
from benchmarks.drift_null import Smooth, counted


def records(families):
    """As many rows as families; the values of a family are near each other."""
    rng, rows = np.random.default_rng(0), len(families)
    centres = rng.normal(0, 1, families.max() + 1)
    return pd.DataFrame(
        {
            "brightness": centres[families] + 0.05 * rng.normal(0, 1, rows),
            "answer_label": np.array(["aphids", "clean"])[families % 2],
            "answer_confidence": rng.uniform(0.5, 1, rows),
            "family": families,
        }
    ).assign(answer_confident=lambda table: table["answer_confidence"] >= 0.7)


def test_each_window_divides_the_images_anew_by_whole_families():
    clean = records(np.arange(300) // 3)
    source = Windows(clean, clean.assign(brightness=clean["brightness"] + 9))
    drawn = [source.draw(100, no) for no in range(4)]
    for rest, window in drawn:
        assert len(rest) + len(window) == 300 and 100 <= len(window) <= 102
        assert not set(rest["family"]) & set(window["family"])
        assert window["brightness"].min() > 4 > rest["brightness"].max()
    assert len({tuple(rest.index) for rest, _ in drawn}) == 4


def test_drawn_records_come_in_families_like_those_they_are_made_from():
    families = np.repeat(np.arange(90), np.tile([1, 2, 6], 30))
    drawn = Smooth(records(families)).draw(4000, np.random.default_rng(1))
    sizes = drawn["family"].value_counts()
    assert set(sizes) == {1, 2, 6} and 4000 <= len(drawn) < 4006
    within = drawn.groupby("family")["brightness"].std().dropna()
    assert within.max() < 0.3 < 0.8 < drawn["brightness"].std() < 1.2
    # Families are new ones: each moved, as one.
    assert drawn.groupby("family")["brightness"].mean().nunique() == len(sizes)


def test_drawn_records_of_single_images_are_as_many_as_asked_for():
    drawn = Smooth(records(np.arange(50))).draw(200, np.random.default_rng(1))
    assert len(drawn) == 200 and drawn["family"].is_unique and drawn["brightness"].is_unique


def test_no_alarm_in_a_hundred_windows_is_a_rate_below_three_in_a_hundred():
    assert 0.029 < counted(np.zeros(100, bool))["upper_95"] < 0.03
