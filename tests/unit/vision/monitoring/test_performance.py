import tracemalloc

import numpy as np
import pandas as pd
import pytest

from configs.monitoring import MonitorConfig
from vision.monitoring.labels import adjusted_accuracy
from vision.monitoring.performance import ESTIMATORS, estimate_accuracy, labelled_accuracy, score_estimate

CONFIG = MonitorConfig()


def truly(window):
    return float((window["truth"] == window["answer_label"]).mean())


def feedback(window, rows):
    said = window.iloc[:rows]
    return pd.DataFrame({"id": said["id"], "label": said["truth"], "key_id": "k"})


def test_without_change_the_interval_holds_the_accuracy_in_most_windows(reference, served):
    windows = [served(seed) for seed in range(1, 21)]
    found = [estimate_accuracy(reference, window, CONFIG) for window in windows]
    held = sum(one.low <= truly(window) <= one.high for one, window in zip(found, windows, strict=True))
    assert held >= 17
    assert np.mean([one.high - one.low for one in found]) < 0.12


@pytest.mark.parametrize("sure", [12, 4, 2, 1])
def test_an_accuracy_that_falls_with_the_confidence_is_followed(reference, served, sure):
    windows = [served(seed, sure=sure) for seed in range(1, 9)]
    errors = [estimate_accuracy(reference, window, CONFIG).value - truly(window) for window in windows]
    assert np.mean(np.abs(errors)) < 0.05


def test_answers_far_from_every_class_count_as_chance(reference, served):
    window = served(unseen=0.4)
    near = window.assign(**{name: 0.0 for name in window if name[0] == "e" and name[1:].isdigit()})
    near[[f"e{number}" for number in range(8)]] = reference[[f"e{number}" for number in range(8)]].to_numpy()[:200]
    assert estimate_accuracy(reference, window, CONFIG).value < estimate_accuracy(reference, near, CONFIG).value - 0.1


def test_all_known_estimators_agree_with_the_reference_when_nothing_changes(reference):
    sure, right = (
        reference["answer_confidence"].to_numpy(),
        (reference["label"] == reference["answer_label"]).to_numpy(),
    )
    for estimator in ESTIMATORS.values():
        assert estimator(sure, right, sure) == pytest.approx(right.mean(), abs=0.02)


def test_near_duplicates_in_the_reference_make_nothing_surer(reference, served):
    shots = pd.concat([reference] * 4, ignore_index=True)
    window = pd.concat([served(seed) for seed in range(1, 8)], ignore_index=True)
    one, four = (estimate_accuracy(table, window, CONFIG) for table in (reference, shots))
    assert four.high - four.low == pytest.approx(one.high - one.low, rel=0.2)


@pytest.mark.parametrize("left_out", ["label", "answer_confidence"])
def test_a_reference_that_cannot_tell_gives_no_estimate(reference, served, left_out):
    assert estimate_accuracy(reference.drop(columns=left_out), served(), CONFIG) is None


def test_a_window_without_answers_gives_no_estimate(reference, served):
    assert estimate_accuracy(reference, served().iloc[:0], CONFIG) is None


def test_a_reference_without_embedding_is_judged_by_confidence(reference, served):
    embedded = [f"e{number}" for number in range(8)]
    found = estimate_accuracy(reference.drop(columns=embedded), served(sure=2), CONFIG)
    assert found.value == pytest.approx(truly(served(sure=2)), abs=0.08)


def test_many_references_and_many_labels_need_little_memory(draw_records):
    many = draw_records(15_000, 6)
    said = many[["id", "label"]].assign(key_id="k")
    tracemalloc.start()
    try:
        assert adjusted_accuracy(many, many.drop(columns="label"), said).rows == 15_000
        assert estimate_accuracy(many.drop(columns="id"), many[:300].drop(columns="label"), CONFIG).rows == 300
        assert tracemalloc.get_traced_memory()[1] < 120e6, "all samples at once took 360 MB"
    finally:
        tracemalloc.stop()


def test_of_a_large_window_so_many_rows_are_taken(reference, draw_records):
    window = draw_records(20_000, 5).drop(columns="label")
    assert estimate_accuracy(reference, window, CONFIG).rows == CONFIG.max_rows


def test_the_interval_of_labels_is_the_exact_one(served):
    window = served().assign(answer_label="blight", truth="aphids")
    found = labelled_accuracy(window, feedback(window, 10))
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 10))
    assert (found.rows, found.share) == (10, 0.05)


def test_of_several_labels_of_an_answer_the_last_counts_and_others_answers_not(served):
    window = served().assign(answer_label="blight")
    said = pd.DataFrame({"id": [window["id"][0], window["id"][0], "another"], "label": ["aphids", "blight", "blight"]})
    found = labelled_accuracy(window, said.assign(key_id="k"))
    assert (found.rows, found.value) == (1, 1)


def test_a_window_without_labels_has_no_labelled_accuracy(served):
    assert labelled_accuracy(served(), None) is None
    assert labelled_accuracy(served(), feedback(served(), 0)) is None


def test_an_estimate_is_scored_against_labels_that_came_later(reference, served):
    window = served(sure=4)
    honest = score_estimate(
        estimate_accuracy(reference, window, CONFIG), labelled_accuracy(window, feedback(window, 200))
    )
    assert honest.covered and honest.compatible and abs(honest.error) < 0.08
    wrong = window.assign(truth="none of these")
    fooled = score_estimate(estimate_accuracy(reference, wrong, CONFIG), labelled_accuracy(wrong, feedback(wrong, 200)))
    assert not fooled.covered and not fooled.compatible and fooled.error > 0.5
