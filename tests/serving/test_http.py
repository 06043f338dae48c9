"""The endpoints with a real package and engine, without a server process."""

import base64
import io
import json
import uuid

import pytest
from PIL import Image
from starlette.testclient import TestClient

from bentos.http.app import attach, create_app
from bentos.predictor import Predictor


@pytest.fixture(scope="module")
def predictor(worker) -> Predictor:
    return worker.predictor


@pytest.fixture(scope="module")
def client(worker):
    return worker.client


def error_of(response, status: int) -> dict:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"got", "allowed", "do"}
    return error


def test_answer_names_label_probabilities_model_and_card(client, draw, made):
    answer = client.post("/predict", files={"file": ("leaf.jpg", draw("moss", 1))}).json()
    assert answer["label"] == "moss"
    assert answer["confident"] is True
    assert answer["confidence"] == answer["predictions"][0]["probability"]
    assert sum(item["probability"] for item in answer["predictions"]) == pytest.approx(1, abs=1e-5)
    assert answer["card"] == {"crop": "Tomato", "action": "Nothing to do."}
    package_sha = made.package.package_sha
    assert answer["model"] == {
        "system": "quickstart", "version": 3, "package_sha": package_sha, "arch": "resnet18"
    }  # fmt: skip
    assert uuid.UUID(answer["prediction_id"]).version == 7


def test_label_without_a_card_answers_null(client, draw):
    assert client.post("/predict", files={"file": draw("slate", 1)}).json()["card"] is None


def test_raw_body_and_form_field_give_the_same_answer(client, draw):
    data = draw("amber", 2)
    as_form = client.post("/predict", files={"file": data}).json()
    for headers in ({"content-type": "image/jpeg"}, {"content-type": "application/octet-stream"}, {}):
        raw = client.post("/predict", content=data, headers=headers).json()
        assert raw["predictions"] == as_form["predictions"]
        assert raw["prediction_id"] != as_form["prediction_id"]


def test_health_and_version_name_the_package(client, made):
    health = client.get("/health").json()
    named = {"status": "ok", "system": "quickstart", "version": 3, "package_sha": made.package.package_sha}
    assert named.items() <= health.items()
    assert (health["release_no"], health["queue_images"], health["refused_release"]) == (0, 0, None)
    assert {"engine", "precision", "records_lost"} < set(health)
    version = client.get("/model/version").json()
    assert version["labels"] == ["amber", "moss", "slate"]
    assert version["release_no"] == 0


def test_the_release_is_told_without_its_salt_and_places(client, made):
    release = client.get("/release").json()
    assert (release["no"], release["mode"], release["reason"]) == (0, "single", "first_model")
    assert release["champion"] == {"version": 3, "package_sha": made.package.package_sha}
    assert release["challenger"] is release["refused_release"] is None
    assert "salt" not in release


def test_text_file_is_no_image(client):
    assert "unknown_format" in error_of(client.post("/predict", files={"file": ("a.txt", b"hello")}), 415)["got"]


def test_format_that_is_not_allowed_is_refused(client):
    buffer = io.BytesIO()
    Image.new("RGB", (40, 40)).save(buffer, "GIF")
    error_of(client.post("/predict", files={"file": buffer.getvalue()}), 415)


def test_truncated_jpeg_is_refused_and_the_next_request_is_answered(client, draw):
    data = draw("moss", 3, size_px=(400, 300))
    assert "truncated" in error_of(client.post("/predict", files={"file": data[: len(data) // 2]}), 400)["got"]
    assert client.post("/predict", files={"file": data}).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"content-type": "image/png"}])
def test_empty_body_is_refused(client, headers):
    assert "empty" in error_of(client.post("/predict", content=b"", headers=headers), 400)["got"]


def test_wrong_field_name_says_which_is_right(client, draw):
    error = error_of(client.post("/predict", files={"image": draw("moss", 1)}), 422)
    assert "image" in error["got"]
    assert "`file`" in error["allowed"]


def test_text_in_the_file_field_is_refused(client):
    error_of(client.post("/predict", data={"file": "text"}, files={"other": b"x"}), 422)


def test_several_images_are_answered_in_order_and_a_bad_one_fails_alone(client, draw):
    parts = [("file", draw("moss", 1)), ("file", b"no image"), ("file", draw("slate", 2))]
    first, bad, last = client.post("/predict?top_k=1", files=parts).json()["results"]
    assert (first["label"], last["label"]) == ("moss", "slate")
    assert len(first["predictions"]) == 1
    assert set(bad) == {"error"}
    assert "unknown_format" in bad["error"]["got"]


def test_more_images_than_a_request_may_hold_are_refused(client, draw, predictor):
    data = draw("moss", 1)
    error = error_of(client.post("/predict", files=[("file", data)] * (predictor.serving.max_images + 1)), 413)
    assert error["allowed"] == f"at most {predictor.serving.max_images}"


def test_bodies_beyond_the_workers_memory_are_refused_and_the_memory_is_given_back(client, draw):
    data, memory = draw("moss", 1), client.app.state.memory
    with memory.share() as take:
        take(memory.max_bytes - len(data) + 1)
        for kind in ({"content": data}, {"files": {"file": data}}):
            response = client.post("/predict", **kind)
            error_of(response, 429)
            assert int(response.headers["retry-after"]) >= 1
    assert memory.held == 0
    assert client.post("/predict", content=data).status_code == 200
    assert memory.held == 0


def test_top_k_is_the_requests_own(client, draw):
    files = {"file": draw("moss", 1)}
    assert [len(client.post(f"/predict?top_k={k}", files=files).json()["predictions"]) for k in (1, 2, 100)] == [
        1,
        2,
        3,
    ]
    for wrong in ("9" * 5000, "0", "-1", "101", "x", "1.5", "²", ""):
        error_of(client.post(f"/predict?top_k={wrong}", files=files), 422)


def test_keeping_an_image_needs_a_key_that_may(client, draw):
    error_of(client.post("/predict?keep=true", files={"file": draw("moss", 1)}), 403)
    error_of(client.post("/predict?keep=maybe", files={"file": draw("moss", 1)}), 422)


def test_explanation_is_a_png_of_the_photograph(client, draw):
    response = client.post("/explain", files={"file": draw("moss", 1)})
    assert (response.status_code, response.headers["content-type"]) == (200, "image/png")
    assert Image.open(io.BytesIO(response.content)).size == (72, 56)
    error_of(client.post("/explain", files={"file": b"no image"}), 415)
    error_of(client.post("/explain", files=[("file", draw("moss", 1))] * 2), 413)


def test_an_answer_can_bring_its_explanation_along(client, draw):
    data = draw("moss", 1)
    answer = client.post("/predict?explain=true", files={"file": data}).json()
    assert base64.b64decode(answer.pop("heatmap_png")) == client.post("/explain", content=data).content
    plain = client.post("/predict?explain=false", files={"file": data}).json()
    assert set(answer) == set(plain) and answer["predictions"] == plain["predictions"]
    error_of(client.post("/predict?explain=maybe", content=data), 422)


def test_an_explanation_with_the_answer_has_the_limits_of_explain(worker, client, draw, predictor, monkeypatch):
    data, records = draw("moss", 1), worker.value("records_written_total", log="records")
    assert error_of(client.post("/predict?explain=true", files=[("file", data)] * 2), 413)["allowed"] == "at most 1"
    with monkeypatch.context() as patch:
        patch.setattr(predictor.decoder, "_large_held", predictor.decoder._large_places)
        error_of(client.post("/predict?explain=true", content=data), 429)
    assert predictor.lane.batcher.held == 0
    assert worker.value("records_written_total", log="records") == records, "no answer, no record"
    monkeypatch.setattr(type(predictor.lane), "explains", False)
    error_of(client.post("/predict?explain=true", content=data), 404)


def test_json_where_an_image_belongs_is_refused(client):
    error_of(client.post("/predict", json={"file": "leaf.jpg"}), 415)


@pytest.mark.parametrize(
    "body",
    [b"", b"--x", b"--x\r\n\r\n", b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc'],
)
def test_malformed_form_is_refused(client, body):
    response = client.post("/predict", content=body, headers={"content-type": "multipart/form-data; boundary=x"})
    assert response.status_code in (400, 422)
    assert set(response.json()["error"]) == {"got", "allowed", "do"}


def test_form_without_a_boundary_is_refused(client):
    error_of(client.post("/predict", content=b"abc", headers={"content-type": "multipart/form-data"}), 400)


def test_body_past_the_limit_is_refused_announced_or_not(client, predictor):
    limit = int(predictor.serving.max_body_mib * 2**20)

    def chunks():
        for _ in range(limit // 2**20 + 2):
            yield bytes(2**20)

    error_of(client.post("/predict", content=bytes(limit + 1)), 413)
    error_of(client.post("/predict", content=chunks()), 413)
    error_of(client.post("/predict", files={"file": bytes(limit)}), 413)


def test_too_many_pixels_are_refused_before_decoding(client):
    buffer = io.BytesIO()
    Image.new("1", (9000, 9000)).save(buffer, "PNG")
    assert "too_many_pixels" in error_of(client.post("/predict", files={"file": buffer.getvalue()}), 413)["got"]


def test_wrong_method_and_unknown_path_answer_in_the_same_form(client):
    assert "POST" in error_of(client.get("/predict"), 405)["allowed"]
    error_of(client.get("/nothing"), 404)


def test_fault_of_ours_shows_nothing_of_the_inside(worker, predictor, draw, monkeypatch):
    app = create_app()
    attach(app, predictor, worker.books)
    monkeypatch.setattr(predictor.router, "lanes", None)
    with TestClient(app, raise_server_exceptions=False) as client:
        response = client.post("/predict", files={"file": draw("moss", 1)})
    assert "internal error" in error_of(response, 500)["got"]
    assert "NoneType" not in json.dumps(response.json())
