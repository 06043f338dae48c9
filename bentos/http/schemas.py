"""What the service answers with, as JSON."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel


class ModelInfo(BaseModel):
    """The model that answered. `version` is the registry's number."""

    system: str
    version: int
    package_sha: str
    arch: str


class RefusedRelease(BaseModel):
    """Why what is asked for is not served, and what was before goes on."""

    reason: str
    at: datetime
    tries: int


class Challenger(BaseModel):
    """The model that is compared with the one that answers: in shadow beside it, as a canary for a share of the clients."""

    version: int
    package_sha: str
    mode: Literal["shadow", "canary"]
    share: float
    """Of the clients that it answers; in shadow it answers none."""
    refused: RefusedRelease | None
    """Why this worker does not run it."""


class ModelVersion(ModelInfo):
    """GET /model/version: the model, and what it can say. `title`: of the system, for people."""

    title: str
    kind: str
    labels: tuple[str, ...]
    vocabulary: tuple[str, ...]
    """What feedback may call an image."""
    heatmap: bool
    """Does /explain show a heatmap, and not only what the answer says anyway?"""
    release_no: int
    confident_at: float
    input_side_px: int
    engine: str
    precision: str
    """What the engine computes in: float32, bfloat16 or int8."""
    challenger: Challenger | None = None


class Health(BaseModel):
    """GET /health: what this worker answers with, and what is wrong."""

    status: Literal["ok", "degraded"]
    system: str
    version: int
    package_sha: str
    release_no: int
    engine: str
    precision: str
    queue_images: int
    """Accepted and not answered, of this worker."""
    records_lost: int
    """Lines that could not be written since the last one that could."""
    refused_release: RefusedRelease | None
    challenger: Challenger | None


class ReleasedPackage(BaseModel):
    version: int
    package_sha: str


class ServedRelease(BaseModel):
    """GET /release: the release that this worker acts on, and the one that it could not take up."""

    no: int
    mode: Literal["single", "shadow", "canary"]
    champion: ReleasedPackage
    challenger: ReleasedPackage | None
    share: float
    """Of the clients, whom the challenger answers in a canary."""
    reason: str
    at: datetime
    refused_release: RefusedRelease | None
    refused_challenger: RefusedRelease | None


class Prediction(BaseModel):
    """POST /predict. Beside these fields stands the kind's answer: label, confidence, confident, and what it found."""

    model_config = {"extra": "allow"}

    prediction_id: str
    model: ModelInfo
    card: dict[str, Any] | None
    kept: bool | None = None
    """With `?keep=true`: is the image stored now?"""
    heatmap_png: str | None = None
    """With `?explain=true`: the image with where its answer comes from, a PNG in base64."""


class Predictions(BaseModel):
    """POST /predict with several images: for each, in order, its prediction or its error."""

    results: list["Prediction | ErrorAnswer"]


class Problem(BaseModel):
    """What was got, what is allowed, what to do."""

    got: str
    allowed: str
    do: str


class ErrorAnswer(BaseModel):
    error: Problem
