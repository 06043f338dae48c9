"""The endpoints with a real package and engine, without a server process."""

import io
import json
import uuid

import pytest
from PIL import Image
from starlette.testclient import TestClient

from bentos.engine import ready_engine
from bentos.http import attach, create_app
from bentos.predictor import Predictor
from bentos.source import open_served


@pytest.fixture(scope="module")
def predictor(state) -> Predictor:
    served = open_served(state / "systems" / "quickstart" / "release.json")
    return Predictor(served, ready_engine(served.package))


@pytest.fixture(scope="module")
def client(predictor):
    app = create_app()
    attach(app, predictor, threads=2)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


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
    assert health == {
        "status": "ok", "system": "quickstart", "version": 3, "package_sha": made.package.package_sha
    }  # fmt: skip
    version = client.get("/model/version").json()
    assert version["labels"] == ["amber", "moss", "slate"]
    assert version["release_no"] == 0


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


def test_text_in_the_file_field_and_two_files_are_refused(client, draw):
    error_of(client.post("/predict", data={"file": "text"}, files={"other": b"x"}), 422)
    error_of(client.post("/predict", files=[("file", draw("moss", 1)), ("file", draw("moss", 2))]), 422)


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
    limit = int(predictor.served.serving.max_body_mib * 2**20)

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


def test_fault_of_ours_shows_nothing_of_the_inside(predictor, draw, monkeypatch):
    app = create_app()
    attach(app, predictor, threads=1)
    monkeypatch.setattr(predictor, "engine", None)
    with TestClient(app, raise_server_exceptions=False) as client:
        response = client.post("/predict", files={"file": draw("moss", 1)})
    assert "internal error" in error_of(response, 500)["got"]
    assert "NoneType" not in json.dumps(response.json())
