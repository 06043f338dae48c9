import numpy as np
import pytest

from vision.kinds import answering
from vision.kinds.detect_boxes import MOST_BOXES, find
from vision.package import InputSpec, Spec

KIND = answering("detect")
LABELS = ("pit", "scratch")


def spec(**changes):
    known = InputSpec(side_px=64, resize_px=64, crop="squash")
    values = {
        "kind": "detect",
        "arch": "a",
        "labels": LABELS,
        "input": known,
        "outputs": KIND.outputs,
        "threshold": 0.4,
    }
    return Spec(**values | changes)


def outputs(*images):
    """images: lists of (box, scores of both labels); padded with candidates that score nothing."""
    most = max(map(len, images))
    boxes, scores = np.zeros((len(images), most, 4), np.float32), np.zeros((len(images), most, 2), np.float32)
    for number, candidates in enumerate(images):
        for place, (box, values) in enumerate(candidates):
            boxes[number, place], scores[number, place] = box, values
    return {"scores": scores, "boxes": boxes, "embedding": np.ones((len(images), 32), np.float32)}


ONE, NEAR, FAR = (0.1, 0.2, 0.3, 0.6), (0.1, 0.2, 0.3, 0.58), (0.6, 0.1, 0.9, 0.3)


def test_an_answer_has_the_boxes_above_the_threshold_in_pixels_of_the_image_sent_the_best_first():
    found = outputs([(ONE, (0.1, 0.6)), (FAR, (0.9, 0.0)), ((0, 0, 1, 1), (0.39, 0.2))])
    answer = KIND.answers(found, spec(), [(200, 100)], top_k=1)[0]
    assert [box["label"] for box in answer["boxes"]] == ["pit", "scratch"]
    assert answer["boxes"][0]["box"] == pytest.approx([120, 10, 180, 30], abs=0.02)
    assert answer["boxes"][1]["box"] == pytest.approx([20, 20, 60, 60], abs=0.02)
    assert (answer["label"], answer["confident"]) == ("pit", True)
    assert answer["confidence"] == pytest.approx(0.9)
    assert (answer["width_px"], answer["height_px"], answer["threshold"]) == (200, 100, 0.4)


def test_without_a_box_above_the_threshold_the_image_is_normal_and_as_sure_as_the_best_candidate_is_not():
    answer = KIND.answers(outputs([(ONE, (0.1, 0.15))]), spec(), [(64, 64)], top_k=3)[0]
    assert (answer["label"], answer["boxes"]) == ("normal", [])
    assert answer["confidence"] == pytest.approx(0.85)


def test_of_boxes_of_one_label_that_overlap_the_better_stays_and_other_labels_are_left_alone():
    found = outputs([(ONE, (0.8, 0.0)), (NEAR, (0.7, 0.6)), (FAR, (0.5, 0.0))])
    boxes = KIND.answers(found, spec(), [(100, 100)], top_k=1)[0]["boxes"]
    assert [(box["label"], round(box["confidence"], 2)) for box in boxes] == [
        ("pit", 0.8),
        ("scratch", 0.6),
        ("pit", 0.5),
    ]


def test_an_answer_holds_a_hundred_boxes_at_most():
    line = np.arange(200) / 200
    boxes = np.stack((line, line * 0, line + 0.004, line * 0 + 0.5), axis=1)
    assert len(find(boxes, np.full((200, 1), 0.9), 0.5).scores) == MOST_BOXES


def test_numbers_that_are_not_finite_are_no_answer():
    found = outputs([(ONE, (float("nan"), 0.5))])
    with pytest.raises(ValueError, match="not finite"):
        KIND.answers(found, spec(), [(64, 64)], top_k=1)


def test_the_answer_is_as_its_schema_says():
    from jsonschema import Draft202012Validator

    schema = KIND.answer_schema(spec())
    found = outputs([(ONE, (0.8, 0.0))], [(ONE, (0.1, 0.0))])
    for answer in KIND.answers(found, spec(), [(64, 64)] * 2, top_k=1):
        Draft202012Validator(schema).validate(answer)


def test_the_summary_has_what_drift_is_measured_on_and_nothing_for_an_image_without_boxes():
    found = outputs([(ONE, (0.8, 0.0)), (FAR, (0.0, 0.7))], [(ONE, (0.1, 0.0))])
    two, none = (KIND.summary(answer) for answer in KIND.answers(found, spec(), [(100, 100)] * 2, top_k=1))
    assert two["boxes"] == 2 and two["box_area"] == pytest.approx((0.08 + 0.06) / 2, abs=1e-3)
    assert two["box_x"] == pytest.approx((0.2 + 0.75) / 2, abs=1e-3)
    assert none["boxes"] == 0 and none["box_area"] is None


def test_runtimes_agree_when_places_and_scores_are_close_whatever_the_order_of_the_candidates():
    wanted = outputs([(ONE, (0.8, 0.0)), (FAR, (0.0, 0.7))])
    swapped = outputs([(FAR, (0.0, 0.7004)), (ONE, (0.8003, 0.0))])
    assert KIND.agree(swapped, wanted, 1e-3)[0]
    assert KIND.same_outputs(swapped, wanted).all()


@pytest.mark.parametrize(
    "other",
    [
        [(ONE, (0.7, 0.0)), (FAR, (0.0, 0.7))],  # another score
        [(ONE, (0.0, 0.8)), (FAR, (0.0, 0.7))],  # another label
        [((0.3, 0.2, 0.5, 0.6), (0.8, 0.0)), (FAR, (0.0, 0.7))],  # another place
        [(FAR, (0.0, 0.7)), (FAR, (0.0, 0.7))],  # a box less
    ],
    ids=["score", "label", "place", "missing"],
)
def test_runtimes_do_not_agree_when_a_box_is_not_the_same(other):
    wanted = outputs([(ONE, (0.8, 0.0)), (FAR, (0.0, 0.7))])
    agreed, gap = KIND.agree(outputs(other), wanted, 1e-3)
    assert not agreed and gap > 0.09
    assert not KIND.agree(wanted, outputs(other), 1e-3)[0]


def test_two_places_that_overlap_and_score_alike_may_change_places_between_runtimes():
    wanted, other = (
        outputs([(ONE, (0.8, 0.0)), (NEAR, (0.7999, 0.0))]),
        outputs([(ONE, (0.7999, 0.0)), (NEAR, (0.8, 0.0))]),
    )
    assert KIND.agree(other, wanted, 1e-3)[0]


def test_embeddings_count_as_well():
    one, two = outputs([(ONE, (0.8, 0.0))]), outputs([(ONE, (0.8, 0.0))])
    two["embedding"] += 0.5
    assert not KIND.agree(one, two, 1e-3)[0]
