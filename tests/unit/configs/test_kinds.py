"""What a kind refuses of a config, before anything runs."""

import pytest

from configs.load import load_system
from vision.errors import UserError

BOXES = {
    "kind": "detect",
    "data.source": {"type": "drawn", "what": "surfaces"},
    "input": {"side_px": 64, "resize_px": 64, "crop": "squash"},
    "model.arch": "ssdlite320_mobilenet_v3_large",
}


def refused(**changes):
    with pytest.raises(UserError) as caught:
        load_system("quickstart", {**BOXES, **changes})
    return str(caught.value)


def test_a_detector_is_taken_with_the_whole_image_and_steps_that_boxes_can_follow():
    assert load_system("quickstart", BOXES).kind == "detect"


def test_an_unknown_kind_is_told_with_those_there_are():
    assert "classify, detect" in refused(kind="segment")


@pytest.mark.parametrize(
    "source", [{"type": "drawn", "what": "leaves"}, {"type": "coco", "path": "defects", "label_by": "presence"}]
)
def test_data_that_tells_of_no_boxes_with_classes_is_refused(source):
    assert "tells of no boxes with classes" in refused(**{"data.source": source})


def test_boxes_are_not_cut_off():
    message = refused(input={"side_px": 64, "resize_px": 80})
    assert "center cuts boxes off" in message and "squash" in message


def test_a_step_that_turns_images_is_refused_because_upright_boxes_cannot_follow():
    message = refused(**{"training.augment": [{"name": "rotation"}]})
    assert "boxes can't follow rotation" in message and "mosaic" in message


def test_views_that_could_not_be_kept_are_not_silently_left_out():
    assert "cached_views = 4: no views are kept for boxes" in refused(**{"training.cached_views": 4})


def test_each_kind_has_its_own_networks():
    assert "resnet18 draws no boxes" in refused(**{"model.arch": "resnet18"})
    assert "is no classifier" in refused(kind="classify")


def test_a_kind_that_learns_by_steps_needs_a_stage():
    assert "training.stages needs at least one stage" in refused(**{"training.stages": []})


def test_anchors_rise():
    assert "anchor_scales must rise" in refused(**{"model.anchor_scales": [0.5, 0.2]})
