"""What is said, measured and compared of an answer with boxes."""

import numpy as np
import pandas as pd
import pytest

from vision.data.boxes.geometry import Box
from vision.export.reference import reference_table
from vision.kinds import answering
from vision.kinds.found_boxes import (
    COLUMNS,
    box_columns,
    compare_boxes,
    margin_of_boxes,
    matched,
    same_boxes,
    truth_of_boxes,
)  # fmt: skip
from vision.package import InputSpec, Spec


def answer(*boxes, label=None, confidence=0.9, at=0.4):
    """boxes: (label, confidence, x1, y1, x2, y2) on an image of 200 x 100 px."""
    found = [{"label": name, "confidence": sure, "box": list(corners)} for name, sure, *corners in boxes]
    label = label or (found[0]["label"] if found else "normal")
    return {"label": label, "confidence": found[0]["confidence"] if found else confidence, "boxes": found,
            "threshold": at, "width_px": 200, "height_px": 100}  # fmt: skip


PIT, SCRATCH = ("pit", 0.9, 20, 20, 60, 40), ("scratch", 0.7, 100, 0, 200, 50)


def test_columns_are_shares_of_the_image_and_none_without_a_box():
    found = box_columns(answer(PIT, SCRATCH))
    assert found["boxes"] == 2 and found["box_aspect"] == pytest.approx(2.0)
    assert found["box_area"] == pytest.approx((40 * 20 + 100 * 50) / 2 / 20_000)
    assert (found["box_x"], found["box_y"]) == pytest.approx(((40 + 150) / 2 / 200, (30 + 25) / 2 / 100))
    assert box_columns(answer()) == {"boxes": 0.0, **dict.fromkeys(COLUMNS[1:])}


def test_boxes_are_the_same_where_label_and_place_are_whatever_their_order_and_each_is_used_once():
    moved = ("pit", 0.5, 22, 21, 62, 41)
    assert same_boxes(answer(PIT, SCRATCH), answer(SCRATCH, moved)) and same_boxes(answer(), answer())
    assert not same_boxes(answer(PIT), answer(PIT, moved)) and matched(answer(PIT), answer(PIT, moved)) == [(0, 0)]
    assert not same_boxes(answer(PIT), answer(("scratch", *PIT[1:])))
    assert not same_boxes(answer(PIT), answer(("pit", 0.9, 60, 20, 100, 40)))


def test_engines_that_differ_by_rounding_agree_and_a_lost_or_moved_or_surer_box_is_named():
    near = ("pit", 0.905, 20.5, 20, 60, 40)
    gap, reasons = compare_boxes(answer(near, SCRATCH), answer(PIT, SCRATCH), 0.01)
    assert gap == pytest.approx(0.005) and reasons == ()
    assert "confidences differ by 0.200" in compare_boxes(answer(("pit", 0.7, *PIT[2:])), answer(PIT), 0.05)[1][0]
    assert "corners differ by 0.050" in compare_boxes(answer(("pit", 0.9, 20, 20, 60, 45)), answer(PIT), 0.01)[1][0]
    gap, reasons = compare_boxes(answer(PIT), answer(PIT, SCRATCH), 0.05)
    assert gap == 0.7 and reasons == ("1 boxes less, one of scratch 0.700",)
    assert compare_boxes(answer(PIT, SCRATCH), answer(PIT), 0.05)[1] == ("1 boxes more, one of scratch 0.700",)


def test_a_box_at_the_threshold_may_be_there_or_not():
    edge = ("scratch", 0.42, *SCRATCH[2:])
    assert compare_boxes(answer(PIT, edge), answer(PIT), 0.05)[1] == ()
    assert compare_boxes(answer(PIT, edge), answer(PIT), 0.01)[1] != ()


@pytest.mark.parametrize(
    ("found", "margin"),
    [
        (answer(PIT), 5 / 6),
        (answer(PIT, ("pit", 0.4, 0, 0, 9, 9)), 0),
        (answer(confidence=1.0), 1),
        (answer(confidence=0.6), 0),
    ],
)
def test_what_lies_nearest_to_the_threshold_says_how_undecided_an_answer_is(found, margin):
    assert margin_of_boxes(found) == pytest.approx(margin)


@pytest.mark.parametrize(
    ("known", "said", "truth"),
    [(["pit", "scratch"], "scratch", "scratch"), (["pit"], "scratch", "pit"), ([], "normal", "normal"), ([], "pit", "normal"),
     (["pit"], "normal", "pit")],
)  # fmt: skip
def test_an_answer_is_right_where_the_image_has_a_box_of_its_label(known, said, truth):
    row = {"label": known[0] if known else "normal", "boxes": [Box(label, 0, 0, 5, 5)._asdict() for label in known]}
    assert truth_of_boxes(row, answer(label=said)) == truth


def test_the_reference_of_a_detector_has_its_columns_also_where_nothing_was_found_and_says_what_was_right():
    kind = answering("detect")
    spec = Spec(kind="detect", arch="ssdlite320_mobilenet_v3_large", labels=("pit", "scratch"), input=InputSpec(crop="squash"),
                outputs=kind.outputs, threshold=0.4)  # fmt: skip
    rows = pd.DataFrame(
        {
            "path": ["a", "b"], "sha256": ["a", "b"], "label": ["pit", "normal"], "family": [0, 1], "split": "test",
            "width_px": [200, 100], "height_px": [100, 100], "brightness": 0.5,
            "boxes": [[Box("pit", 0, 0, 9, 9)._asdict(), Box("scratch", 100, 0, 200, 50)._asdict()], []],
        }
    )  # fmt: skip
    scores = np.array([[[0.0, 0.9]], [[0.1, 0.0]]], np.float32)
    boxes = np.array([[[0.5, 0, 1, 0.5]], [[0, 0, 1, 1]]], np.float32)
    outputs = {"scores": scores, "boxes": boxes, "embedding": np.zeros((2, 32), np.float32)}
    found = reference_table({"test": rows}, {"test": outputs}, spec)
    assert found["label"].tolist() == found["answer_label"].tolist() == ["scratch", "normal"]
    assert found["answer_boxes"].tolist() == [1, 0] and found["answer_box_area"].dtype == "float64"
    assert found["answer_box_area"].tolist()[0] == pytest.approx(0.25) and np.isnan(found["answer_box_area"][1])
    assert len(found["boxes"][0]) == 2 and list(found["boxes"][1]) == []
    none = reference_table({"test": rows[1:]}, {"test": {name: value[1:] for name, value in outputs.items()}}, spec)
    assert none["answer_box_x"].dtype == "float64"
    assert "boxes" not in reference_table({"test": rows.assign(boxes=None)}, {"test": outputs}, spec)
