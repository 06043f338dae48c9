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


def turned(answers):
    return ["blight" if answer == "aphids" else "aphids" for answer in answers]


def broken(window, rows):
    """The last `rows` images are blank."""
    window = window.copy()
    window.loc[window.index[-rows:], "contrast"] = 0.001
    return window


def test_behind_a_fault_what_is_only_estimated_asks_for_no_training_and_is_named(reference, served):
    one = found(reference, broken(darker(served(sure=1)), 40))
    assert one.causes[:2] == ("pipeline_fault", "covariate_shift") and (one.retrain, one.retrain_for) == (False, "none")
    assert "in spite of covariate shift" in one.training and "learn the fault" in one.training
    assert [reason.partition(":")[0] for reason in one.reasons] == [*one.causes]


def test_behind_a_fault_a_fall_that_labels_of_whole_images_show_asks_for_a_training(reference, served):
    window = broken(served(), 40)
    one = found(reference, window, labels(window, 100, turned(window["answer_label"][:100])))
    assert one.causes[:2] == ("pipeline_fault", "accuracy_drop")
    assert one.retrain and one.retrain_for == "accuracy_drop" and "also beside pipeline fault" in one.training
    assert "mend the camera" in one.action and "retrain with their labels" in one.action


def test_labels_of_faulty_images_are_no_fall_of_the_model(reference, served):
    window = broken(served(), 100)
    said = window.iloc[-100:]
    feedback = pd.DataFrame({"id": said["id"], "label": turned(said["answer_label"]), "key_id": "k"})
    one = found(reference, window, feedback)
    assert one.causes == ("pipeline_fault",) and not one.retrain and one.labelled is None


def test_a_new_class_explains_a_fall_that_is_only_estimated(reference, served):
    one = found(reference, served(unseen=0.5))
    assert one.causes == ("unseen_class", "estimated_accuracy_drop") and not one.retrain
    assert "without labels of its own class" in one.training


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
