"""What people say of a detector's answers: that nothing is there, and where what is there lies."""

import json

import pytest

from tests.serving.boxes_stage import box_package, draw_boxes, working
from tests.serving.test_boxes import PIT, SCRATCH, predicted
from vision.records_read import read_feedback


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    package = box_package(tmp_path_factory.getbasetemp())
    with working(package, tmp_path_factory.mktemp("box_feedback") / "state") as made:
        yield made


def test_feedback_may_say_that_the_image_was_normal_and_nothing_that_no_label_names(worker):
    made = predicted(worker, draw_boxes([SCRATCH]))["prediction_id"]
    said = worker.client.post("/feedback", json={"id": made, "label": "normal"})
    assert said.status_code == 200 and said.json()["right"] is False
    assert worker.client.post("/feedback", json={"id": made, "label": "scratch"}).json()["right"] is True
    refused = worker.client.post("/feedback", json={"id": made, "label": "rust"})
    assert refused.status_code == 422 and "pit, scratch, normal" in refused.json()["error"]["allowed"]


def test_feedback_may_say_where_the_defects_are(worker):
    made = predicted(worker, draw_boxes([SCRATCH]))["prediction_id"]
    drawn = [{"label": box.label, "box": list(box[1:])} for box in (SCRATCH, PIT)]
    said = worker.client.post("/feedback", json={"id": made, "label": "pit", "boxes": drawn})
    assert said.status_code == 200, said.text
    table = read_feedback(worker.system / "feedback").set_index("id")
    assert table.loc[made, "boxes"] == drawn
    passport = worker.client.get(f"/predictions/{made}/lineage").json()
    assert passport["feedback"]["label"] == "pit" and passport["feedback"]["boxes"] == drawn
    assert worker.client.post("/feedback", json={"id": made, "label": "normal", "boxes": []}).status_code == 200
    assert read_feedback(worker.system / "feedback").set_index("id").loc[made, "boxes"] == []


@pytest.mark.parametrize(
    ("label", "boxes", "got"),
    [
        ("scratch", [["scratch", 10, 10, 300, 20]], "box scratch [10, 10, 300, 20]"),
        ("scratch", [["scratch", 10, 10, 10, 20]], "box scratch [10, 10, 10, 20]"),
        ("scratch", [["scratch", -1, 10, 10, 20]], "box scratch [-1, 10, 10, 20]"),
        ("scratch", [["rust", 10, 10, 20, 20]], "box rust [10, 10, 20, 20]"),
        ("scratch", [["pit", 10, 10, 20, 20]], "label scratch with 1 boxes, none of them of it"),
        ("normal", [["pit", 10, 10, 20, 20]], "label normal with 1 boxes, none of them of it"),
        ("pit", [], "label pit with 0 boxes, none of them of it"),
    ],
)
def test_boxes_that_the_image_can_not_have_are_refused(worker, label, boxes, got):
    made = predicted(worker, draw_boxes([SCRATCH]))["prediction_id"]
    said = [{"label": name, "box": corners} for name, *corners in boxes]
    response = worker.client.post("/feedback", json={"id": made, "label": label, "boxes": said})
    error = response.json()["error"]
    assert (response.status_code, error["got"]) == (422, got)
    assert "256 x 192" in error["allowed"] and "boxes of pit, scratch" in error["allowed"]


@pytest.mark.parametrize("box", [[1, 2, 3], [1, 2, 3, "x"], [1, 2, 3, None], [1, 2, 3, 1e999], "all"])
def test_boxes_that_are_no_boxes_are_refused(worker, box):
    made = predicted(worker, draw_boxes([SCRATCH]))["prediction_id"]
    body = {"id": made, "label": "scratch", "boxes": [{"label": "scratch", "box": box}]}
    assert worker.client.post("/feedback", content=json.dumps(body)).status_code == 422
