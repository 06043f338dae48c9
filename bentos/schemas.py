"""What the service answers with, as JSON."""

from typing import Any

from pydantic import BaseModel


class ModelInfo(BaseModel):
    """The model that answered. `version` is the registry's number."""

    system: str
    version: int
    package_sha: str
    arch: str


class ModelVersion(ModelInfo):
    """GET /model/version: the model, and what it can say."""

    kind: str
    labels: tuple[str, ...]
    release_no: int
    confident_at: float
    input_side_px: int


class Health(BaseModel):
    status: str
    system: str
    version: int
    package_sha: str


class Prediction(BaseModel):
    """POST /predict. Beside these fields stands the kind's answer: label, confidence, confident, predictions."""

    model_config = {"extra": "allow"}

    prediction_id: str
    model: ModelInfo
    card: dict[str, Any] | None


class Problem(BaseModel):
    """What was got, what is allowed, what to do."""

    got: str
    allowed: str
    do: str


class ErrorAnswer(BaseModel):
    error: Problem
