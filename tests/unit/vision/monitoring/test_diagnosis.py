import pandas as pd
import pytest

from configs.monitoring import MonitorConfig
from vision.monitoring.diagnosis import ACTIONS, HARMLESS_SHIFT, diagnose
from vision.monitoring.drift import find_drift

CONFIG = MonitorConfig(permutations=399)
LABELS = ("aphids", "blight", "clean")


def found(reference, window, feedback=None):
    return diagnose(reference, window, find_drift(reference, window, CONFIG), feedback, CONFIG, LABELS)


def labels(window, rows, truth=None):
    said = window.iloc[:rows]
    return pd.DataFrame({"id": said["id"], "label": said["truth"] if truth is None else truth, "key_id": "k"})


def darker(window, by=0.2):
    return window.assign(brightness=window["brightness"] - by)


def test_a_window_like_the_reference_has_no_cause_and_asks_for_nothing(reference, served):
    windows = [served(seed) for seed in range(1, 9)]
    none = [one for window in windows if (one := found(reference, window, labels(window, 60))).cause == "none"]
    assert len(none) >= 7
    assert none[0].causes == () and none[0].evidence == () and not none[0].retrain
    assert none[0].action == ACTIONS["none"]
    assert none[0].labels == 60 and none[0].estimate.reference > 0.9 and none[0].labelled.rows == 60


def test_every_cause_says_what_to_do_and_on_what_evidence(reference, served):
    window = served()
    wrong = labels(
        window, 100, ["blight" if answer == "aphids" else "aphids" for answer in window["answer_label"][:100]]
    )
    cases = {
        "pipeline_fault": (window.assign(contrast=0.001), None),
        "accuracy_drop": (window, wrong),
        "unseen_class": (served(unseen=0.3), None),
        "class_frequency_shift": (served(mix=(5, 1, 1)), None),
        "covariate_shift": (darker(window), None),
        "estimated_accuracy_drop": (served(sure=2), None),
    }
    for cause, (records, feedback) in cases.items():
        one = found(reference, records, feedback)
        assert one.causes[0] == one.cause
        assert cause in one.causes, cause
        assert one.evidence and len(one.reasons) == len(one.causes)
    assert {found(reference, *case).action for case in list(cases.values())[:4]} == {
        ACTIONS[cause] for cause in list(cases)[:4]
    }


@pytest.mark.parametrize(
    ("more", "retrain"), [({"mix": (5, 1, 1)}, False), ({"unseen": 0.3}, False), ({"sure": 1}, True)]
)
def test_a_training_is_asked_for_where_it_can_help(reference, served, more, retrain):
    assert found(reference, served(**more)).retrain is retrain


def test_a_fault_is_mended_first_and_nobody_learns_it(reference, served):
    window = darker(served(sure=1), 0.3).assign(contrast=0.001)
    one = found(reference, window, labels(window, 200))
    assert one.cause == "pipeline_fault" and not one.retrain


def test_broken_images_are_set_aside_before_the_rest_is_judged(reference, served):
    window = served()
    window.loc[:29, ["contrast", "entropy", "brightness", "answer_confidence"]] = [0.001, 0.9, 0.0, 0.5]
    assert find_drift(reference, window, CONFIG).drifted
    assert found(reference, window).causes == ("pipeline_fault",)
    assert found(reference, darker(window)).causes[:2] == ("pipeline_fault", "covariate_shift")


def test_other_pictures_that_the_model_reads_as_well_as_before_can_wait(reference, draw_records):
    window = darker(draw_records(1000, 2).rename(columns={"label": "truth"}))
    one = found(reference, window)
    assert (one.cause, one.action, one.retrain) == ("covariate_shift", HARMLESS_SHIFT, False)


def test_other_pictures_that_cost_accuracy_ask_for_a_training(reference, served):
    one = found(reference, darker(served(sure=1)))
    assert one.causes == ("covariate_shift", "estimated_accuracy_drop")
    assert one.action == ACTIONS["covariate_shift"] and one.retrain and one.labels == 0


def test_a_label_that_the_model_does_not_know_is_an_unseen_class_and_no_lower_accuracy(reference, served):
    window = served(unseen=0.3)
    one = found(reference, window, labels(window, 150))
    assert one.cause == "unseen_class" and "accuracy_drop" not in one.causes
    assert "'rust'" in one.reasons[0]


def test_a_window_of_nothing_but_broken_images_is_judged(reference, served):
    one = found(reference, served().assign(width_px=80.0))
    assert one.causes == ("pipeline_fault",) and one.estimate is None


def test_a_diagnosis_survives_being_written_down(reference, served):
    one = found(reference, served(sure=2))
    assert type(one).model_validate_json(one.model_dump_json()) == one
