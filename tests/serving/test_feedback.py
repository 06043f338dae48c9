"""POST /feedback: the true label, said later, joined to its answer by id."""

import json

import pytest
from uuid6 import uuid7

from vision.records_find import find_feedback
from vision.records_read import read_feedback


def ask(worker, draw, label: str = "moss", seed: int = 1) -> dict:
    return worker.client.post("/predict", files={"file": draw(label, seed)}).json()


def said(worker, status: int, **body) -> dict:
    response = worker.client.post("/feedback", json=body)
    assert response.status_code == status, response.text
    return response.json() if status == 200 else response.json()["error"]


def test_feedback_is_joined_to_its_answer(worker, draw):
    answer = ask(worker, draw)
    right = said(worker, 200, id=answer["prediction_id"], label="moss")
    assert (right["predicted"], right["right"], right["label"]) == ("moss", True, "moss")
    found = find_feedback(worker.system / "feedback", answer["prediction_id"])
    assert (found["label"], found["key_id"]) == ("moss", None)
    assert worker.value("feedback_total", right="true") == 1


def test_the_last_word_counts_and_both_stay(worker, draw):
    answer = ask(worker, draw, seed=2)
    said(worker, 200, id=answer["prediction_id"], label="amber")
    said(worker, 200, id=answer["prediction_id"], label="slate")
    folder = worker.system / "feedback"
    table = read_feedback(folder).set_index("id")
    assert table.loc[answer["prediction_id"], "label"] == "slate"
    assert find_feedback(folder, answer["prediction_id"])["label"] == "slate"
    assert sum(path.read_text().count(answer["prediction_id"]) for path in folder.rglob("*.ndjson")) == 2


def test_an_id_that_nobody_was_given_is_unknown(worker):
    for made in (str(uuid7()), "x", "../../release.json", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "0" * 200):
        assert "prediction_id" in said(worker, 404, id=made, label="moss")["allowed"]


def test_a_label_that_the_model_does_not_have_is_refused_with_those_it_has(worker, draw):
    error = said(worker, 422, id=ask(worker, draw)["prediction_id"], label="mildew")
    assert "amber, moss, slate" in error["allowed"]


def test_a_model_of_whole_images_takes_no_boxes(worker, draw):
    boxes = [{"label": "moss", "box": [1, 2, 3, 4]}]
    error = said(worker, 422, id=ask(worker, draw)["prediction_id"], label="moss", boxes=boxes)
    assert error["got"] == "boxes, of a model that tells no places"
    said(worker, 200, id=ask(worker, draw)["prediction_id"], label="moss", boxes=None)  # as the loop's clients say it


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"null", b'{"id": 3, "label": "moss"}', b'{"id": "x"}', b"\xff\xfe",
             b'{"id": "x", "label": "moss", "role": "admin"}', json.dumps({"id": "x", "label": "y" * 300}).encode()]
)  # fmt: skip
def test_a_body_that_is_no_feedback_is_refused(worker, body):
    response = worker.client.post("/feedback", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 422
    assert '"label"' in response.json()["error"]["allowed"]


def test_a_body_past_its_limit_is_refused(worker):
    assert worker.client.post("/feedback", content=b" " * 70_000).status_code == 413


def test_feedback_that_can_not_be_kept_is_not_said_to_be(worker, draw):
    answer = ask(worker, draw, seed=3)
    said(worker, 200, id=answer["prediction_id"], label="moss")
    log, folder = worker.books.recorder._feedback, worker.system / "feedback"
    log.close()
    folder.rename(folder.with_name("away"))
    folder.write_text("a file where the folder belongs")
    error = said(worker, 503, id=answer["prediction_id"], label="moss")
    assert "could not be written" in error["got"]
    folder.unlink()
    folder.with_name("away").rename(folder)
    said(worker, 200, id=answer["prediction_id"], label="moss")
