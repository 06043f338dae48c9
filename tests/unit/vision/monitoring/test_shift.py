import numpy as np
import pytest

from configs.monitoring import MonitorConfig
from vision.monitoring.drift import find_drift
from vision.monitoring.shift import explain_shift

CONFIG = MonitorConfig(permutations=399)


def causes(reference, window):
    return explain_shift(reference, window, find_drift(reference, window, CONFIG)).causes


def darker(window):
    return window.assign(brightness=window["brightness"] - 0.08)


def test_nothing_that_moved_needs_no_explanation(reference, served):
    assert causes(reference, served()) == ()


@pytest.mark.parametrize("mix", [(4, 1, 1), (1, 1, 8), (1, 1, 0)])
def test_other_shares_of_the_same_classes_are_a_class_frequency_shift(reference, served, mix):
    found = [causes(reference, served(seed, mix=mix)) for seed in range(2, 7)]
    assert found.count(("class_frequency_shift",)) >= 4
    one = explain_shift(reference, served(2, mix=mix), find_drift(reference, served(2, mix=mix), CONFIG))
    assert one.evidence[0].name == "class_mix" and one.evidence[0].p_value <= CONFIG.alpha


def test_pictures_that_look_otherwise_are_a_covariate_shift(reference, served):
    found = explain_shift(reference, darker(served()), find_drift(reference, darker(served()), CONFIG))
    assert found.causes == ("covariate_shift",)
    assert found.evidence[0].name == "brightness" and found.evidence[0].seen == pytest.approx(-1, abs=0.25)


def test_other_shares_do_not_hide_that_pictures_look_otherwise(reference, served):
    assert causes(reference, darker(served(mix=(4, 1, 1)))) == ("covariate_shift",)


@pytest.mark.parametrize("share", [0.1, 0.3, 1.0])
def test_images_as_before_of_something_that_the_model_does_not_know_are_an_unseen_class(reference, served, share):
    found = explain_shift(reference, served(unseen=share), find_drift(reference, served(unseen=share), CONFIG))
    assert found.causes == ("unseen_class",)
    assert found.evidence[0].name == "novelty" and found.evidence[0].expected < 0.02


def test_an_unseen_class_that_looks_otherwise_is_found_when_all_else_is_as_before(reference, served):
    window = served(unseen=0.3)
    window.loc[window["truth"] == "rust", "greenness"] -= 0.15
    assert "greenness" in find_drift(reference, window, CONFIG).drifted_columns
    assert causes(reference, window) == ("unseen_class",)


def test_the_same_pictures_of_the_same_classes_read_with_less_confidence_are_an_estimated_drop(reference, served):
    assert causes(reference, served(sure=1)) == ("estimated_accuracy_drop",)


def test_a_few_images_of_an_unseen_class_are_found_before_a_window_drifts(reference, served):
    window = served(unseen=0.06)
    drift = find_drift(reference, window, CONFIG).model_copy(update={"drifted": False})
    assert explain_shift(reference, window, drift).causes == ("unseen_class",)


def test_records_of_a_model_without_embedding_are_explained_too(reference, served):
    embedded = [f"e{number}" for number in range(8)]
    assert causes(reference.drop(columns=embedded), darker(served().drop(columns=embedded))) == ("covariate_shift",)


def test_shots_of_one_leaf_count_as_one_image_of_an_unseen_class(reference, served):
    """Twelve novel images in a window are many, and not if the reference's images come in runs of twenty."""
    window = served()
    window.loc[:11, [f"e{number}" for number in range(8)]] = 20.0
    window.loc[:11, "answer_confident"] = False
    still = find_drift(reference, window, CONFIG).model_copy(update={"drifted": False})
    runs = reference.assign(family=np.arange(len(reference)) // 20)
    assert explain_shift(reference, window, still).causes == ("unseen_class",)
    assert explain_shift(runs, window, still).causes == ()
