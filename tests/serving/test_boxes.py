"""A detector behind the same endpoints: boxes in pixels of the image that was sent, in the answer, its record and everywhere after."""

import base64
import io
import json

import jsonschema
import numpy as np
import pytest
from PIL import Image

from tests.serving.boxes_stage import LABELS, SURE, TURNS, box_package, draw_boxes, heat_package, working
from tests.serving.test_openapi import check, check_answer, operations
from vision.data.boxes.geometry import Box
from vision.records_find import find_record
from vision.records_read import read_records
from vision.records_seal import seal_closed

SCRATCH, PIT = Box("scratch", 64, 48, 128, 96), Box("pit", 160, 12, 240, 36)
WITHIN = 1.6
"""Shares of a pixel of the model's input, in pixels of an image twice as large."""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return box_package(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def worker(package, tmp_path_factory):
    with working(package, tmp_path_factory.mktemp("boxes") / "state") as made:
        yield made


def predicted(worker, data: bytes, query: str = "") -> dict:
    response = worker.client.post(f"/predict{query}", content=data)
    assert response.status_code == 200, response.text
    return response.json()


def corners(answer: dict, label: str) -> list[float]:
    [found] = [box for box in answer["boxes"] if box["label"] == label]
    return found["box"]


@pytest.mark.parametrize("orientation", TURNS)
def test_boxes_lie_in_pixels_of_the_upright_image_however_the_camera_was_held(worker, orientation):
    answer = predicted(worker, draw_boxes([SCRATCH, PIT], orientation=orientation))
    assert (answer["width_px"], answer["height_px"]) == (256, 192)
    for box in (SCRATCH, PIT):
        assert corners(answer, box.label) == pytest.approx(list(box[1:]), abs=WITHIN)


def test_each_image_of_a_batch_has_boxes_of_its_own_size(worker):
    sizes = [(256, 192), (640, 200), (90, 300), (1280, 960)]
    files = []
    for width, height in sizes:
        box = Box("scratch", width // 4, height // 4, width // 2, height // 2)
        files.append(("file", draw_boxes([box], (width, height))))
    found = worker.client.post("/predict", files=[*files, ("file", b"no image")]).json()["results"]
    assert found.pop()["error"]["got"]
    for (width, height), answer in zip(sizes, found, strict=True):
        wanted = np.array([width // 4, height // 4, width // 2, height // 2])
        moved = np.abs(np.array(corners(answer, "scratch")) - wanted) / [width, height, width, height]
        assert moved.max() < 0.01, (width, height, answer)


def test_top_k_counts_alternatives_so_no_box_is_left_out_nor_its_record_changed(worker):
    data = draw_boxes([SCRATCH, PIT])
    one, all_ = (predicted(worker, data, query) for query in ("?top_k=1", ""))
    assert one["boxes"] == all_["boxes"] and len(one["boxes"]) == 2
    records = [find_record(worker.system / "records", answer["prediction_id"]) for answer in (one, all_)]
    assert records[0]["summary"] == records[1]["summary"]


def test_an_image_without_a_defect_is_normal_with_no_box_and_the_best_box_has_its_card(worker):
    nothing = predicted(worker, draw_boxes([]))
    assert (nothing["label"], nothing["boxes"], nothing["confident"]) == ("normal", [], True)
    found = predicted(worker, draw_boxes([SCRATCH]))
    assert found["label"] == "scratch" and found["card"] == {"action": "Polish it out."}
    assert found["confidence"] == pytest.approx(SURE + 0.02, abs=0.01)


def test_explain_draws_the_boxes_on_the_upright_photograph(worker):
    data = draw_boxes([SCRATCH], orientation=6)
    response = worker.client.post("/explain", content=data)
    assert response.headers["content-type"] == "image/png"
    picture = Image.open(io.BytesIO(response.content)).convert("RGB")
    assert picture.size == (256, 192)
    drawn = np.asarray(picture).astype(int)
    plain = np.asarray(Image.open(io.BytesIO(draw_boxes([SCRATCH]))).convert("RGB")).astype(int)
    changed = np.abs(drawn - plain).sum(axis=2) > 60
    assert changed[48:96, 63:66].any(axis=1).all(), "the left side of the box"
    assert not changed[60:84, 76:116].any() and not changed[120:].any(), "inside and far below it nothing is drawn"
    explained = predicted(worker, data, "?explain=true")
    assert base64.b64decode(explained["heatmap_png"]) == response.content


def test_what_is_asked_and_answered_is_as_the_description_says(worker):
    described = worker.client.get("/openapi.json").json()
    paths = described["paths"]
    for path, _, operation in operations(described):
        example = operation["responses"]["200"].get("content", {}).get("application/json", {})
        if "example" in example:
            check(described, example["example"], example["schema"])
        assert "heatmap" not in operation["summary"], path
    example = paths["/predict"]["post"]["responses"]["200"]["content"]["application/json"]["example"]
    assert (example["width_px"], example["height_px"]) == (256, 192), "the golden image lies on its side"
    for boxes in ([], [PIT], [SCRATCH, PIT]):
        check_answer(described, worker.client.post("/predict", content=draw_boxes(boxes)), paths["/predict"]["post"])
    with pytest.raises(jsonschema.ValidationError):
        check(described, {**example, "boxes": [{"label": "rust"}]}, {"$ref": "#/components/schemas/Prediction"})
    version = worker.client.get("/model/version").json()
    assert version["vocabulary"] == [*LABELS, "normal"] and version["heatmap"] is False


def test_records_hold_what_drift_is_measured_on_before_and_after_they_are_sealed(worker, tmp_path):
    ids = [predicted(worker, draw_boxes(boxes))["prediction_id"] for boxes in ([SCRATCH, PIT], [])]
    folder = worker.system / "records"
    two, none = (find_record(folder, made) for made in ids)
    assert two["summary"]["boxes"] == 2 and two["summary"]["box_x"] == pytest.approx((96 + 200) / 2 / 256, abs=0.01)
    assert none["summary"] == {"boxes": 0, "box_area": None, "box_aspect": None, "box_x": None, "box_y": None}
    copied = tmp_path / "records"
    for path in folder.rglob("*.ndjson"):
        (copied / path.parent.name).mkdir(parents=True, exist_ok=True)
        (copied / path.parent.name / path.name).write_bytes(path.read_bytes())
    before, _ = read_records(copied)
    assert seal_closed(copied)
    after, _ = read_records(copied)
    names = [name for name in after if name.startswith("answer_box")]
    assert names == ["answer_boxes", "answer_box_area", "answer_box_aspect", "answer_box_x", "answer_box_y"]
    assert (after[names].dtypes == "float64").all()
    np.testing.assert_array_equal(before[names].to_numpy(float), after[names].to_numpy(float))
    assert find_record(copied, ids[0])["summary"] == two["summary"]
    passport = worker.client.get(f"/predictions/{ids[0]}/lineage").json()
    assert len(passport["prediction"]["answer"]["boxes"]) == 2


def test_a_served_answer_replays_from_its_image_and_another_image_does_not(worker, package):
    from vision.replay import replay

    data = draw_boxes([SCRATCH, PIT])
    record = find_record(worker.system / "records", predicted(worker, data)["prediction_id"])
    inbox = worker.system / "inbox"
    assert replay(record, data, package, inbox, 50.0).parts[0].equal
    other = replay(record, draw_boxes([SCRATCH]), package, inbox, 50.0).parts[0]
    assert not other.equal and other.difference > 0.9 and other.now.startswith("scratch")


def test_the_metrics_count_answers_by_the_label_of_the_image(worker):
    before = worker.value("predictions_total", label="normal")
    predicted(worker, draw_boxes([]))
    assert worker.value("predictions_total", label="normal") == before + 1


def test_a_batch_is_scored_with_its_boxes(package, tmp_path):
    from vision.scoring.scorer import Scorer

    files = {"a.png": draw_boxes([PIT]), "b.png": draw_boxes([], (90, 60)), "c.png": b"no image"}
    table, _ = Scorer(package, files.__getitem__).score(list(files))
    rows = table.to_pylist()
    assert [row["answer_label"] for row in rows] == ["pit", "normal", None]
    assert (
        json.loads(rows[0]["answer"])["boxes"][0]["label"] == "pit" and json.loads(rows[1]["answer"])["width_px"] == 90
    )


def test_what_is_handed_over_says_how_boxes_are_read(package):
    from vision.export.handover import readme

    text = readme(package, [], {})
    assert "logits" not in text and "`boxes`" in text
    compile(text.split("```python\n")[1].split("```")[0], "README.md", "exec")


def test_a_model_that_only_knows_normal_images_says_where_one_is_unusual_and_shows_the_heat(tmp_path, tmp_path_factory):
    package, box = heat_package(tmp_path_factory.getbasetemp()), Box("scratch", 100, 60, 160, 120)
    with working(package, tmp_path / "state") as worker:
        normal = predicted(worker, draw_boxes([]))
        assert (normal["label"], normal["boxes"]) == ("normal", []) and normal["score"] < normal["threshold"]
        data = draw_boxes([box], orientation=8)
        answer = predicted(worker, data)
        assert answer["label"] == "defect" and answer["score"] > answer["threshold"]
        # A patch is 12 px of this image, and a box is made of whole ones.
        assert corners(answer, "defect") == pytest.approx(list(box[1:]), abs=18)
        described = worker.client.get("/openapi.json").json()
        response = worker.client.post("/predict?explain=true", content=data)
        check_answer(described, response, described["paths"]["/predict"]["post"])
        heat = np.asarray(
            Image.open(io.BytesIO(base64.b64decode(response.json()["heatmap_png"]))).convert("RGB")
        ).astype(int)
        plain = np.asarray(Image.open(io.BytesIO(draw_boxes([box]))).convert("RGB")).astype(int)
        changed = np.abs(heat - plain).sum(axis=2) > 30
        assert heat.shape == (192, 256, 3) and changed[75:105, 115:145].all() and not changed[:, :60].any()
        summary = find_record(worker.system / "records", answer["prediction_id"])["summary"]
        assert summary["boxes"] == 1 and summary["score"] == answer["score"]
        assert worker.client.get("/model/version").json()["heatmap"] is True


@pytest.mark.slow
def test_requests_made_from_the_description_get_answers_as_described(worker):
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

    schema, asked = schemathesis.openapi.from_asgi("/openapi.json", worker.client.app), set()
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path not in ("/predict", "/explain", "/feedback", "/model/version"):
            continue

        @settings(max_examples=12, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        @given(operation.as_strategy())
        def ask(case):
            case.call_and_validate(checks=[not_a_server_error, status_code_conformance, response_schema_conformance])
            asked.add(case.operation.path)

        ask()
    assert asked == {"/predict", "/explain", "/feedback", "/model/version"}
