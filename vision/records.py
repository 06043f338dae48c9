"""Prediction records and feedback: one JSON line each, no pixels. What a line holds, and how it is made in microseconds.

They lie as `<folder>/dt=YYYY-MM-DD/<host>-<pid>-<boot>.ndjson` (DESIGN section 9): `vision.records_log` writes them,
`vision.records_read` reads them while they are written, `vision.records_seal` turns closed files into parquet.
"""

import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from functools import cache
from typing import Annotated, Any, Literal
from uuid import UUID

import numpy as np
from pydantic import AwareDatetime, Field
from pydantic_core import to_json

from vision.settings import Section

SCHEMA = 1
NUMBER = "%.4g"
"""Four significant digits of features and embedding: an error of at most 0.05 %, far below what drift is measured by."""
MS_DIGITS = 3
QUEUE_KEY = "queue:"
"""How the `key_id` of a label begins that was asked for: the label queue picks images that are hard."""
DAY_S = 86_400
UUID_VERSION = 7

Route = Literal["champion", "canary", "shadow"]


class Record(Section):
    """One answer. `vision.records_read` tells which columns a table of them has.

    `record_line` writes the same fields without this model: a request does not pay for checking what we made ourselves.
    """

    schema_no: Annotated[int, Field(alias="schema", ge=1, le=SCHEMA)] = SCHEMA
    id: str
    """UUIDv7: carries the millisecond, and so the day under which the record lies."""
    at: AwareDatetime
    package_sha: str
    model_version: int
    release_no: int
    route: Route = "champion"
    pair_id: str | None = None
    """The other answer to the same image, where a challenger ran beside the champion."""
    agrees: bool | None = None
    """With that answer, as the kind sees it (`Answering.same`). None where there is none, and in older records."""
    client_hash: str | None = None
    """Salted hash of the key or address, see `client_hash`; None where nobody is told apart."""
    engine: str | None = None
    precision: str | None = None
    """That the engine computed in: float32, bfloat16 or int8. None in records of before these two were kept."""
    batch_size: int
    queue_ms: float
    compute_ms: float
    features: dict[str, float | None]
    """`vision.data.features.FEATURES` of the image."""
    embedding: tuple[float, ...]
    """The model's second output; comparable within one package only."""
    answer: dict[str, Any]
    """What the kind said, less the two fields below: `label`, and for a classifier `predictions`."""
    summary: dict[str, float | None] = {}
    """What the kind measures of its answer beside label and confidence: more columns for drift."""
    confidence: float
    confident: bool


class SaidBox(Section):
    """A box that a person drew. box: x1, y1, x2, y2 in pixels of the image as it was sent, upright."""

    label: str
    box: tuple[float, float, float, float]


class Feedback(Section):
    """The true label of an answer, said later. Of several with one id the last one counts; all stay in the log.

    boxes: all that the image shows, where somebody drew them; None: no place was said.
    """

    id: str
    label: str
    at: AwareDatetime
    key_id: str | None = None
    boxes: tuple[SaidBox, ...] | None = None


def record_line(fields: Mapping[str, Any]) -> bytes:
    """The line of one record. fields: those of `Record`; `embedding` numbers [D], `features` name -> number.

    Numbers that are not finite become null. Raises `AttributeError`, `KeyError`, `TypeError` or `ValueError` for what
    is no record.
    """
    plain = dict(fields)
    features, embedding = plain.pop("features"), plain.pop("embedding")
    plain["queue_ms"] = round(plain["queue_ms"], MS_DIGITS)
    plain["compute_ms"] = round(plain["compute_ms"], MS_DIGITS)
    head = to_json({"schema": SCHEMA, "id": plain.pop("id"), **plain}, inf_nan_mode="null")
    numbers = np.asarray(embedding).tolist()
    end = _filled(_features(tuple(features)), tuple(features.values())) + _filled(_embedding(len(numbers)), numbers)
    return head[:-1] + end.encode()


def _filled(templates: tuple[str, str], values: Sequence[float]) -> str:
    """Formatted in one go: to round 44 numbers and then write them out takes three times as long."""
    finite, any_ = templates
    if math.isfinite(sum(values)):
        return finite % tuple(values)
    return any_ % tuple([NUMBER % value if math.isfinite(value) else "null" for value in values])


@cache
def _features(names: tuple[str, ...]) -> tuple[str, str]:
    """`,"features":{...}` for finite numbers, and for texts."""
    keys = [json.dumps(name).replace("%", "%%") for name in names]
    return tuple(f',"features":{{{",".join(f"{key}:{form}" for key in keys)}}}' for form in (NUMBER, "%s"))


@cache
def _embedding(count: int) -> tuple[str, str]:
    """`,"embedding":[...]}` and a newline, for finite numbers, and for texts."""
    return tuple(f',"embedding":[{",".join([form] * count)}]}}\n' for form in (NUMBER, "%s"))


def feedback_line(feedback: Feedback) -> bytes:
    return feedback.model_dump_json(exclude={"boxes"} if feedback.boxes is None else None).encode() + b"\n"


def client_hash(client: str, salt: bytes) -> str:
    """16 hex digits that tell clients apart and don't say who they are. salt: secret, at most 64 bytes."""
    return hashlib.blake2b(client.encode(), digest_size=8, key=salt).hexdigest()


def made_at_ms(prediction_id: str) -> int:
    """Milliseconds since 1970 in a UUIDv7 (RFC 9562, section 5.7). Raises `ValueError` for any other text."""
    uuid = UUID(prediction_id)
    if uuid.version != UUID_VERSION or str(uuid) != prediction_id:
        raise ValueError(f"{prediction_id!r} is no prediction id")
    return uuid.int >> 80


def day_number(seconds: float | None = None) -> int:
    """Days since 1970, UTC; of now when no time is given."""
    return int((time.time() if seconds is None else seconds) // DAY_S)


def day_folder(day: int) -> str:
    """`dt=YYYY-MM-DD`."""
    return f"dt={datetime.fromtimestamp(day * DAY_S, UTC):%Y-%m-%d}"


def folder_day(name: str) -> int | None:
    """The day number of a folder's name, None for any other folder."""
    try:
        return (date.fromisoformat(name.removeprefix("dt=")) - date(1970, 1, 1)).days if name[:3] == "dt=" else None
    except ValueError:
        return None
