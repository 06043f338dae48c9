"""Finds one record by its id: the id says when it was made, and a file's lines are nearly in that order."""

import contextlib
import json
import mmap
import re
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from vision.errors import UserError
from vision.records import NUMBER, Record, day_number, made_at_ms
from vision.records_read import OFFSET, LogFile, lines, log_files

ID_KEY = b'"id":"'
ID_CHARS = 36
SKEW_MS = 10_000
"""By how much a file's lines may be out of order: an id is made just before its line is written."""


def find_record(folder: Path, prediction_id: str) -> dict[str, Any] | None:
    """The record with this id, as it was written, or None. Raises `ValueError` for a text that is no prediction id.

    Looks at the day that the id names and the next one (a request may pass midnight), in each file only at the lines
    of about its time.
    """
    made_ms = made_at_ms(prediction_id)
    day = day_number(made_ms / 1000)
    for file in log_files(folder, (day, day + 1)):
        found = _in_file(file, prediction_id, made_ms)
        if found is not None:
            return found
    return None


def known_record(folder: Path, prediction_id: str) -> dict[str, Any]:
    """As `find_record`. Raises `UserError` for a text that is no prediction id and for one that no record has."""
    allowed = f"the prediction_id of an answer whose record lies in {folder}"
    do = "check the id and --system; records are kept for serving.keeping.records_days"
    try:
        found = find_record(folder, prediction_id)
    except ValueError:
        raise UserError(f"{prediction_id!r} is no prediction id", allowed, do) from None
    if found is None:
        raise UserError(f"no record of prediction {prediction_id}", allowed, do)
    return found


def _in_file(file: LogFile, prediction_id: str, made_ms: int) -> dict[str, Any] | None:
    if not file.sealed.is_file():
        with contextlib.suppress(FileNotFoundError):
            return _in_growing(file.growing, prediction_id, made_ms)
    return _in_sealed(file.sealed, prediction_id)


def _in_growing(path: Path, prediction_id: str, made_ms: int) -> dict[str, Any] | None:
    with path.open("rb") as stream:
        if stream.seek(0, 2) == 0:
            return None
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            first = _first_line_from(data, made_ms - SKEW_MS)
            last = _first_line_from(data, made_ms + SKEW_MS)
            at = data.find(ID_KEY + prediction_id.encode() + b'"', first, last)
            if at < 0:
                return None
            begin, end = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at)
            return None if end < 0 else from_json(data[begin:end])


def _first_line_from(data: mmap.mmap, wanted_ms: int) -> int:
    """Offset of the first line, by bisection, whose id was made at `wanted_ms` or later; the size where none was."""
    low, high = 0, len(data)
    while low < high:
        begin = data.rfind(b"\n", low, (low + high) // 2) + 1 or low
        made_ms, at = _next_id(data, begin, high)
        if made_ms is not None and made_ms < wanted_ms:
            low = (data.find(b"\n", at, high) + 1) or high
        else:
            high = begin
    return low


def _next_id(data: mmap.mmap, begin: int, end: int) -> tuple[int | None, int]:
    """When the first id between these offsets was made, and where it stands; None where there is none."""
    at = data.find(ID_KEY, begin, end)
    try:
        return made_at_ms(data[at + len(ID_KEY) : at + len(ID_KEY) + ID_CHARS].decode()) if at >= 0 else None, at
    except ValueError:
        return None, at


def _in_sealed(path: Path, prediction_id: str) -> dict[str, Any] | None:
    """The row as the record that it was."""
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path, filters=[("id", "==", prediction_id)]).to_pylist()
    except FileNotFoundError:
        return None
    return to_record(rows[0]) if rows else None


def to_record(row: dict[str, Any]) -> dict[str, Any]:
    """A row of `read_records` as a record again."""
    names = {field.alias or name for name, field in Record.model_fields.items()}
    embedding = sorted((name for name in row if re.fullmatch(r"e\d+", name)), key=lambda name: int(name[1:]))
    # A file may hold the records of two packages, the wider of which gave it its columns.
    numbers = [row[name] for name in embedding if row[name] is not None]
    features = [name for name in row if name not in {*names, *embedding, OFFSET} and not name.startswith("answer_")]
    return {
        **{name: value for name, value in row.items() if name in names - {"summary"}},
        "at": row["at"].isoformat(),
        "features": {name: row[name] for name in features},
        "embedding": [float(NUMBER % number) for number in numbers],
        "answer": json.loads(row["answer"]),
        **({"summary": json.loads(row["summary"])} if row.get("summary") else {}),
        "confidence": row["answer_confidence"],
        "confident": row["answer_confident"],
    }


def find_feedback(folder: Path, prediction_id: str) -> dict[str, Any] | None:
    """What was said last of this prediction, None when nothing was. Raises `ValueError` as `find_record` does.

    Reads the days since the prediction: people say little beside what a service answers.
    """
    day, found = day_number(made_at_ms(prediction_id) / 1000), None
    for file in log_files(folder):
        if file.day < day:
            continue
        with contextlib.suppress(FileNotFoundError):
            data = file.growing.read_bytes()
            if prediction_id.encode() in data:
                said = [row for row, _ in lines(data) if row is not None and row.get("id") == prediction_id]
                found = max([*said, *([found] if found else [])], key=lambda row: row["at"])
    return found
