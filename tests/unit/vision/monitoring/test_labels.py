import numpy as np
import pandas as pd
import pytest

from configs.monitoring import MonitorConfig
from vision.monitoring.labels import adjusted_accuracy, fall_of_labelled, unknown_labels

CONFIG = MonitorConfig()
LABELS = ("aphids", "blight", "clean")


def said(rows, truth=None):
    return pd.DataFrame({"id": rows["id"], "label": rows["truth"] if truth is None else truth, "key_id": "k"})


def fell(reference, window, feedback):
    return bool(fall_of_labelled(reference, window, feedback, CONFIG, LABELS))


def mistaken(window, share, seed=0):
    """The truth has moved: in this share of the images it is what the model does not say."""
    others = {"aphids": "blight", "blight": "clean", "clean": "aphids"}
    moved = np.random.default_rng(seed).random(len(window)) < share
    return window.assign(truth=np.where(moved, window["answer_label"].map(others), window["truth"]))


def test_labels_that_agree_as_often_as_the_reference_show_no_fall(reference, served):
    windows = [served(seed) for seed in range(1, 41)]
    assert sum(fell(reference, window, said(window.iloc[:80])) for window in windows) == 0


def test_a_fall_that_no_confidence_shows_is_found_by_labels(reference, served):
    window = mistaken(served(), 0.25)
    found = fall_of_labelled(reference, window, said(window.iloc[:80]), CONFIG, LABELS)
    assert found[0].expected - found[0].seen > 0.1 and found[0].p_value <= CONFIG.alpha
    assert "40% of the answers have a label" in found[0].words


def test_a_fall_that_confidence_shows_too_is_found_by_labels(reference, served):
    window = served(sure=1)
    assert fell(reference, window, said(window.iloc[:100]))


def test_labels_of_the_hardest_images_alone_are_no_fall(reference, draw_records):
    """What the label queue asks for. Taken as they are they would say so in nearly every window."""
    falls, naive = 0, []
    for seed in range(1, 21):
        window = draw_records(1000, seed).rename(columns={"label": "truth"})
        hard = window.nsmallest(60, "answer_confidence")
        naive.append((hard["truth"] == hard["answer_label"]).mean())
        falls += fell(reference, window, said(hard))
    assert np.mean(naive) < 0.9
    assert falls <= 1


def test_nothing_but_corrections_is_no_fall_until_there_are_more_than_usual(reference, draw_records):
    window = draw_records(2000, 3).rename(columns={"label": "truth"})
    wrong = window[window["truth"] != window["answer_label"]]
    assert len(wrong) >= CONFIG.min_labels
    assert not fell(reference, window, said(wrong))
    worse = mistaken(window, 0.2)
    assert fell(reference, worse, said(worse[worse["truth"] != worse["answer_label"]]))


def test_too_few_labels_say_nothing(reference, served):
    window = mistaken(served(), 1.0)
    assert not fell(reference, window, said(window.iloc[: CONFIG.min_labels - 1]))
    assert not fell(reference, window, None)


def test_accuracy_at_equal_confidence_is_that_of_the_whole_window(reference, draw_records):
    window = draw_records(1000, 4, sure=2).rename(columns={"label": "truth"})
    hard = window.nsmallest(200, "answer_confidence")
    truly = (window["truth"] == window["answer_label"]).mean()
    naive = (hard["truth"] == hard["answer_label"]).mean()
    found = adjusted_accuracy(reference, window, said(hard))
    assert found.low <= truly <= found.high
    assert abs(found.value - truly) < 0.5 * abs(naive - truly)


def test_a_reference_without_errors_can_be_compared_with(reference, served):
    perfect = reference.assign(answer_label=reference["label"])
    assert adjusted_accuracy(perfect, served(), said(served())).value == pytest.approx(0.96, abs=0.04)


def test_labels_that_the_model_does_not_know_are_named_and_counted(reference, served):
    window = served(unseen=0.3)
    found = unknown_labels(window, said(window), LABELS)
    assert [one.name for one in found] == ["unknown_label"] and "'rust'" in found[0].words
    assert not fell(reference, window, said(window))


def test_two_slips_are_no_class(served):
    window = served()
    assert unknown_labels(window, said(window.iloc[:60], ["rast", "Blight", *window["truth"][2:60]]), LABELS) == ()
