"""What a client is told of an image, and what stands in its record."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from bentos.batching.batch import Batched
from bentos.batching.decoder import Decoded
from bentos.batching.lane import Lane
from bentos.hooks import Asked
from bentos.ids import Ids
from vision.kinds.base import COMMON

_ids = Ids()
Prediction = dict[str, Any]
"""JSON-able; `bentos.http.schemas.Prediction` says what is in it."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One image through one lane. fields: of its record. image: the model's input, uint8 [S, S, 3]."""

    lane: Lane
    prediction: Prediction
    fields: dict[str, Any]
    decoded: Decoded
    image: np.ndarray


def answer_of(
    lane: Lane, decoded: Decoded, batched: Batched, asked: Asked, pair_id: str | None = None
) -> tuple[Prediction, dict[str, Any]]:
    """The prediction, and the fields of its record. pair_id: another lane's answer to the same image.

    Raises `ValueError` for an answer whose confidence is no number.
    """
    answer = lane.answer(batched.outputs, decoded.size_px, asked.top_k)
    summary = lane.kind.summary(answer)
    if not math.isfinite(summary["confidence"]):
        raise ValueError(f"the model's confidence is {summary['confidence']}")
    prediction_id = _ids.next()
    fields = {
        "id": prediction_id,
        "at": datetime.now(UTC),
        "package_sha": lane.info["package_sha"],
        "model_version": lane.info["version"],
        "release_no": lane.served.release.no,
        "route": lane.route,
        "pair_id": pair_id,
        "client_hash": asked.client.client_hash if asked.client else None,
        "engine": lane.engine.name,
        "precision": lane.engine.precision,
        "batch_size": batched.batch_size,
        "queue_ms": batched.queue_ms,
        "compute_ms": batched.compute_ms,
        "features": decoded.features,
        "embedding": batched.outputs["embedding"],
        "answer": {name: value for name, value in answer.items() if name not in ("confidence", "confident")},
        "confidence": summary["confidence"],
        "confident": summary["confident"],
    }
    if more := {name: value for name, value in summary.items() if name not in COMMON}:
        fields["summary"] = more
    prediction = {"prediction_id": prediction_id, "model": lane.info, "card": lane.card(summary["label"]), **answer}
    return prediction, fields
