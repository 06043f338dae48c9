"""POST /feedback: the true label of an answer, said later."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from anyio import to_thread
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from bentos.http.problems import Refused, json_answer
from bentos.http.upload import limited
from bentos.records import Recorder
from vision.kinds import answering
from vision.kinds.base import Answering
from vision.package import Spec
from vision.records import Feedback, SaidBox
from vision.records_find import find_record

MAX_BODY_BYTES = 2**16
MAX_BOXES = 500


class FeedbackAsked(BaseModel):
    """What a client says: of which prediction, and what was right."""

    model_config = ConfigDict(extra="forbid", str_max_length=256)

    id: str = Field(description="`prediction_id` of the answer")
    label: str = Field(description="what the image really is, one of the model's `vocabulary`")
    boxes: tuple[SaidBox, ...] | None = Field(
        None,
        max_length=MAX_BOXES,
        description="all defects of the image, where a model answers with boxes; without them a detector does not learn from it",
    )


class FeedbackSaid(BaseModel):
    """What was written down."""

    id: str
    label: str
    predicted: str
    right: bool
    at: datetime


class Spoken(NamedTuple):
    """What a package answers with. labels: the model's own."""

    kind: Answering
    labels: tuple[str, ...]


class FeedbackDesk:
    """Checks what is said against the record it is about, and writes it down. Later words replace earlier ones."""

    def __init__(
        self, recorder: Recorder, served: Callable[[str], Spoken], packages: Path, metrics: SimpleNamespace
    ) -> None:
        """served: of a package by its hash, or of the one that answers now. packages: where the earlier ones lie."""
        self._recorder, self._served, self._packages, self._metrics = recorder, served, packages, metrics

    def say(self, asked: FeedbackAsked, key_id: str | None) -> FeedbackSaid:
        """Blocks for a file search. Raises `Refused`: 404 unknown id, 422 not a label or no such boxes, 503 when it can't be kept."""
        record = known_record(self._recorder.folder, asked.id)
        _check(asked, record, self._spoken(record["package_sha"]))
        at = datetime.now(UTC)
        said = Feedback(id=asked.id, label=asked.label, at=at, key_id=key_id, boxes=asked.boxes)
        if not self._recorder.append_feedback(said):
            raise Refused(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "feedback that could not be written",
                "a disk with room",
                "try again later",
            )
        predicted = str(record["answer"].get("label"))
        self._metrics.feedback.labels(str(predicted == asked.label).lower()).inc()
        return FeedbackSaid(id=asked.id, label=asked.label, predicted=predicted, right=predicted == asked.label, at=at)

    def _spoken(self, package_sha: str) -> Spoken:
        """Of the package that answered; of the champion when that is gone."""
        spec = self._packages / package_sha / "spec.json"
        try:
            found = Spec.model_validate_json(spec.read_bytes())
            return Spoken(answering(found.kind), found.labels)
        except (OSError, ValueError):
            return self._served(package_sha)


def _check(asked: FeedbackAsked, record: Mapping[str, Any], spoken: Spoken) -> None:
    """Raises `Refused` for what that model's answers can't be held against."""
    vocabulary = spoken.kind.vocabulary(spoken.labels)
    if asked.label not in vocabulary:
        allowed = f"a label of the model that answered: {', '.join(vocabulary)}"
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, f"label {asked.label!r}", allowed, "send one of these labels")
    if asked.boxes is not None:
        boxes = [each.model_dump() for each in asked.boxes]
        wrong = spoken.kind.wrong_boxes(boxes, asked.label, record["answer"], spoken.labels)
        if wrong is not None:
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, *wrong, "correct the boxes, or send the label alone")


async def feedback(request: Request) -> Response:
    """POST /feedback."""
    body = await limited(request, MAX_BODY_BYTES).body()
    try:
        asked = FeedbackAsked.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        raise Refused(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}"[:200],
            'JSON: {"id": "<prediction_id>", "label": "<true label>"}, perhaps "boxes": [{"label": …, "box": [x1, y1, x2, y2]}]',
            "correct the body",
        ) from None
    client = request.scope.get("state", {}).get("client")
    desk: FeedbackDesk = request.app.state.books.desk
    return json_answer(await to_thread.run_sync(desk.say, asked, client.key_id if client else None))


def known_record(folder: Path, prediction_id: str) -> dict:
    """The record of this id. Raises `Refused` (404)."""
    try:
        record = find_record(folder, prediction_id)
    except ValueError:
        record = None
    if record is None:
        raise unknown(prediction_id)
    return record


def unknown(prediction_id: str) -> Refused:
    return Refused(
        HTTPStatus.NOT_FOUND,
        f"prediction {prediction_id[:64]!r}",
        "the `prediction_id` of an answer that this service gave and still has on record",
        "send the id as it stood in the answer",
    )
