"""POST /feedback: the true label of an answer, said later."""

from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace

from anyio import to_thread
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from bentos.http.problems import Refused, json_answer
from bentos.http.upload import limited
from bentos.records import Recorder
from vision.kinds import answering
from vision.package import Spec
from vision.records import Feedback
from vision.records_find import find_record

MAX_BODY_BYTES = 4096


class FeedbackAsked(BaseModel):
    """What a client says: of which prediction, and what was right."""

    model_config = ConfigDict(extra="forbid", str_max_length=256)

    id: str = Field(description="`prediction_id` of the answer")
    label: str = Field(description="what the image really is, one of the model's `vocabulary`")


class FeedbackSaid(BaseModel):
    """What was written down."""

    id: str
    label: str
    predicted: str
    right: bool
    at: datetime


class FeedbackDesk:
    """Checks what is said against the record it is about, and writes it down. Later words replace earlier ones."""

    def __init__(
        self, recorder: Recorder, labels: Callable[[str], tuple[str, ...]], packages: Path, metrics: SimpleNamespace
    ) -> None:
        """labels: vocabulary of a package by its hash, or of the one that answers now. packages: where the earlier ones lie."""
        self._recorder, self._labels, self._packages, self._metrics = recorder, labels, packages, metrics

    def say(self, asked: FeedbackAsked, key_id: str | None) -> FeedbackSaid:
        """Blocks for a file search. Raises `Refused`: 404 unknown id, 422 not a label, 503 when it can't be kept."""
        record = known_record(self._recorder.folder, asked.id)
        labels = self._labels_of(record["package_sha"])
        if asked.label not in labels:
            raise Refused(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"label {asked.label!r}",
                f"a label of the model that answered: {', '.join(labels)}",
                "send one of these labels",
            )
        at = datetime.now(UTC)
        if not self._recorder.append_feedback(Feedback(id=asked.id, label=asked.label, at=at, key_id=key_id)):
            raise Refused(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "feedback that could not be written",
                "a disk with room",
                "try again later",
            )
        predicted = str(record["answer"].get("label"))
        self._metrics.feedback.labels(str(predicted == asked.label).lower()).inc()
        return FeedbackSaid(id=asked.id, label=asked.label, predicted=predicted, right=predicted == asked.label, at=at)

    def _labels_of(self, package_sha: str) -> tuple[str, ...]:
        """What the package that answered has words for; the champion when that is gone."""
        spec = self._packages / package_sha / "spec.json"
        try:
            found = Spec.model_validate_json(spec.read_bytes())
            return answering(found.kind).vocabulary(found.labels)
        except (OSError, ValueError):
            return self._labels(package_sha)


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
            'JSON: {"id": "<prediction_id>", "label": "<true label>"}',
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
