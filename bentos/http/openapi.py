"""The OpenAPI 3.1 description of the service, as it answers now: its labels, its limits, an answer of its own model."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pydantic.json_schema import models_json_schema

from bentos.access.scopes import OPEN, scope_of
from bentos.batching.lane import Lane
from bentos.http.feedback import FeedbackAsked, FeedbackSaid
from bentos.http.schemas import ErrorAnswer, Health, ModelInfo, ModelVersion, ServedRelease
from bentos.releasing.router import Lanes
from vision.export.golden import golden_outputs, golden_sizes
from vision.package import Card
from vision.passport import Passport

MODELS = (ErrorAnswer, Health, ModelInfo, ModelVersion, FeedbackAsked, FeedbackSaid, Passport, Card, ServedRelease)
IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp", "image/bmp", "application/octet-stream")
EXAMPLE_ID = "01934c3e-8a2b-7c4d-9e5f-0a1b2c3d4e5f"
EXAMPLE_TIME = "2026-01-31T12:00:00Z"
ERRORS = {
    400: "The image or the form is broken or empty.",
    401: "No key, or one that is not good.",
    403: "The key has not the scope for this.",
    404: "There is no such thing.",
    408: "The body was not whole in time.",
    413: "Too many bytes, pixels or images.",
    415: "No image of a format that the service reads.",
    422: "The request says something else than it should.",
    429: "Too often for this key, or too much for the server: wait as long as Retry-After says.",
    503: "The service is starting, stopping, or can't keep what was said.",
}
GUARDED, BODY = (401, 403, 429, 503), (400, 408, 413)
IMAGE_ERRORS = (*BODY, 415, 422, *GUARDED)
TOP_K = {"type": "integer", "minimum": 1, "maximum": 100}
TOP_K_WORDS = (
    "how many of the likeliest labels are named, where a model ranks them; boxes are always all that were found"
)
QUERY = [
    {"name": "top_k", "in": "query", "schema": TOP_K, "description": TOP_K_WORDS, "example": 3},
    {"name": "keep", "in": "query", "schema": {"type": "boolean"}, "description": "keep the image (scope `keep`)"},
    {
        "name": "explain",
        "in": "query",
        "schema": {"type": "boolean"},
        "description": "add the picture of /explain; one image only",
    },
]
OF_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}, "example": EXAMPLE_ID}
RETRY = {"Retry-After": {"description": "seconds to wait", "schema": {"type": "integer", "minimum": 1}}}
RATE = {
    "RateLimit-Policy": {"description": "requests (q) in so many seconds (w)", "schema": {"type": "string"}},
    "RateLimit": {"description": "requests left (r); all are free again after t seconds", "schema": {"type": "string"}},
}


def document(lanes: Lanes, max_images: int) -> dict[str, Any]:
    """For the models that answer now."""
    lane, schemas = lanes.champion, _schemas(lanes)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"VisionOps: {lane.info['system']}",
            "version": str(lane.info["version"]),
            "description": f"Answers about images with package {lane.info['package_sha'][:12]} ({lane.info['arch']}).",
        },
        "paths": {path: _with_access(path, item) for path, item in _paths(lane, max_images).items()},
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "vo_…"},
                "bearer": {"type": "http", "scheme": "bearer", "description": "an API key, or a JSON Web Token"},
            },
        },
    }


def _schemas(lanes: Lanes) -> dict[str, Any]:
    _, found = models_json_schema(
        [(model, "serialization") for model in MODELS], ref_template="#/components/schemas/{model}"
    )
    schemas = dict(found["$defs"])
    # A canary may know other labels than the champion.
    answers = [_prediction(lane) for lane in lanes.answering]
    schemas["Prediction"] = answers[0] if answers == answers[:1] * len(answers) else {"anyOf": answers}
    either = {"anyOf": [_ref("Prediction"), _ref("ErrorAnswer")]}
    schemas["Predictions"] = {
        "type": "object",
        "properties": {"results": {"type": "array", "items": either, "minItems": 2}},
        "required": ["results"],
        "description": "of each image, in order: its prediction or its error",
    }
    return schemas


def _prediction(lane: Lane) -> dict[str, Any]:
    answer = lane.kind.answer_schema(lane.spec)
    return {
        **answer,
        "properties": {
            "prediction_id": {"type": "string", "format": "uuid", "description": "for /feedback and the passport"},
            "model": _ref("ModelInfo"),
            "card": {"anyOf": [_ref("Card"), {"type": "null"}], "description": "what to do about the label"},
            **answer["properties"],
            "kept": {"type": "boolean", "description": "with `keep=true`: is the image stored now?"},
            "heatmap_png": {
                "type": "string",
                "contentEncoding": "base64",
                "contentMediaType": "image/png",
                "description": f"with `explain=true`: {lane.kind.explained}",
            },
        },
        "required": ["prediction_id", "model", "card", *answer["required"]],
    }


def _paths(lane: Lane, max_images: int) -> dict[str, Any]:
    return {
        "/predict": {"post": _predict(lane, max_images)},
        "/explain": {"post": {
            **_about("explain", f"Where the answer comes from: {lane.kind.explained}"),
            "requestBody": _images(1),
            "responses": {"200": _png(), **_errors((*IMAGE_ERRORS, 404))},
        }},
        "/feedback": {"post": _feedback(lane.kind.vocabulary(lane.spec.labels)[0])},
        "/predictions/{id}/lineage": {"get": {
            **_about("lineage", "All that led to one prediction", [OF_ID]),
            "responses": _answers(_ref("Passport"), None, (404, *GUARDED)),
        }},
        "/model/version": {"get": {
            **_about("model_version", "Which model answers, and what it can say"),
            "responses": _answers(_ref("ModelVersion"), lane.version().model_dump(mode="json"), GUARDED),
        }},
        "/release": {"get": {
            **_about("release", "What is released, to whom and why"),
            "responses": _answers(_ref("ServedRelease"), None, GUARDED),
        }},
        "/health": {"get": {
            **_about("health", "How the service is"),
            "responses": {"200": {"description": "It answers.", "content": _json(_ref("Health"), None)}},
        }},
        "/livez": {"get": _probe("livez", "200 while the process lives")},
        "/readyz": {"get": _probe("readyz", "200 when it answers")},
        "/metrics": {"get": _probe("metrics", "Prometheus metrics of all workers")},
    }  # fmt: skip


def _predict(lane: Lane, max_images: int) -> dict[str, Any]:
    one_or_more = {"anyOf": [_ref("Prediction"), _ref("Predictions")]}
    return {
        **_about("predict", "What is on the image", QUERY),
        "requestBody": _images(max_images),
        "responses": _answers(one_or_more, prediction_example(lane), (*IMAGE_ERRORS, 404)),
    }


def _feedback(label: str) -> dict[str, Any]:
    said = {"id": EXAMPLE_ID, "label": label}
    written = {**said, "predicted": label, "right": True, "at": EXAMPLE_TIME}
    return {
        **_about("feedback", "Say later what was right; the last word counts"),
        "requestBody": {"required": True, "content": _json(_ref("FeedbackAsked"), said)},
        "responses": _answers(_ref("FeedbackSaid"), written, (*BODY, 404, 422, *GUARDED)),
    }


def prediction_example(lane: Lane) -> dict[str, Any]:
    """What the model says of its first golden image."""
    outputs = golden_outputs(lane.served.package.folder)
    size_px = golden_sizes(lane.served.package.folder)[0]
    answer = lane.answer({name: values[0] for name, values in outputs.items()}, size_px, None)
    label = lane.kind.summary(answer)["label"]
    return {"prediction_id": EXAMPLE_ID, "model": lane.info, "card": lane.card(label), **answer}


def _with_access(path: str, item: Mapping[str, Any]) -> dict[str, Any]:
    """What `access_scopes` says of the path."""
    scope = scope_of(path)
    access = {} if scope == OPEN else {"security": [{"key": []}, {"bearer": []}, {}], "x-scope": scope}
    return {method: {**operation, **access} for method, operation in item.items()}


def _about(operation_id: str, summary: str, parameters: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"operationId": operation_id, "summary": summary, "parameters": parameters or []}


def _images(max_images: int) -> dict[str, Any]:
    binary = {"type": "string", "contentMediaType": "application/octet-stream", "format": "binary"}
    file = binary if max_images == 1 else {"type": "array", "items": binary, "minItems": 1, "maxItems": max_images}
    form = {"type": "object", "properties": {"file": file}, "required": ["file"]}
    raw = {name: {"schema": {"type": "string", "format": "binary"}} for name in IMAGE_TYPES}
    return {"required": True, "content": {"multipart/form-data": {"schema": form}, **raw}}


def _answers(schema: Mapping[str, Any], example: Any, errors: tuple[int, ...]) -> dict[str, Any]:
    good = {"description": "The answer.", "content": _json(schema, example), "headers": RATE}
    return {"200": good, **_errors(errors)}


def _errors(statuses: tuple[int, ...]) -> dict[str, Any]:
    return {str(status): _error(status) for status in sorted({*statuses, 405})}


def _error(status: int) -> dict[str, Any]:
    what = ERRORS.get(status, HTTPStatus(status).phrase)
    example = {"error": {"got": what, "allowed": "what would have been right", "do": "what to do about it"}}
    made = {"description": what, "content": _json(_ref("ErrorAnswer"), example)}
    return {**made, "headers": RETRY} if status == 429 else made


def _json(schema: Mapping[str, Any], example: Any) -> dict[str, Any]:
    made = {"schema": schema} if example is None else {"schema": schema, "example": example}
    return {"application/json": made}


def _png() -> dict[str, Any]:
    return {"description": "A PNG.", "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}


def _probe(operation_id: str, summary: str) -> dict[str, Any]:
    return {
        **_about(operation_id, summary),
        "responses": {"200": {"description": "Good.", "content": {"text/plain": {}}}},
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
