"""Reads logs of records and feedback while they are written. A watermark is an offset in each file, not a time."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic_core import from_json, to_json

from vision.records import folder_day
from vision.settings import Section

if TYPE_CHECKING:
    import pandas as pd

OFFSET = "log_offset"
"""Column of sealed files: where the row's line ended in the file that was sealed, bytes."""
BYTES = b"log_bytes"
"""Key in a sealed file's metadata: how many bytes of whole lines the log file had."""


class Watermark(Section):
    """How far a reader has come: file (`dt=…/<name>`, without suffix) -> bytes. Equal before and after sealing."""

    offsets: dict[str, int] = {}


@dataclass(frozen=True)
class LogFile:
    """One writer's day: `<path>.ndjson` while it grows, `<path>.parquet` once sealed. `name` is its watermark key."""

    name: str
    day: int
    path: Path

    @property
    def growing(self) -> Path:
        return self.path.with_name(f"{self.path.name}.ndjson")

    @property
    def sealed(self) -> Path:
        return self.path.with_name(f"{self.path.name}.parquet")


def log_files(folder: Path, days: tuple[int, ...] | None = None) -> list[LogFile]:
    """In order of day and name; of these days only, where days are given. A folder that isn't there has none."""
    found: dict[str, LogFile] = {}
    for day_path in sorted(folder.iterdir()) if folder.is_dir() else ():
        day = folder_day(day_path.name)
        if day is None or (days is not None and day not in days):
            continue
        for path in sorted(day_path.iterdir()):
            if path.suffix in (".ndjson", ".parquet") and not path.name.startswith("."):
                name = f"{day_path.name}/{path.stem}"
                found[name] = LogFile(name, day, path.with_suffix(""))
    return list(found.values())


def read_records(folder: Path, since: Watermark | None = None) -> "tuple[pd.DataFrame, Watermark]":
    """All whole records after `since`, and the watermark to come back with.

    Columns: those of `Record`, features by name, `answer` and `summary` as JSON text, their plain values as `answer_<name>`
    beside `answer_confidence` and `answer_confident`, the embedding as e0 ... (the names of a package's `reference.parquet`).
    Lines that are no JSON are left out; their number stands in `attrs["unreadable"]`.
    """
    import pandas as pd

    known, offsets, tables, unreadable = (since or Watermark()).offsets, {}, [], 0
    for file in log_files(folder):
        table, end = _read_file(file, known.get(file.name, 0))
        offsets[file.name] = end
        unreadable += table.attrs.get("unreadable", 0)
        if len(table):
            tables.append(table.drop(columns=OFFSET))
    result = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["id", "at"])
    result.attrs["unreadable"] = unreadable
    return result, Watermark(offsets=offsets)


def record_tables(folder: Path, days: tuple[int, ...] | None = None) -> "Iterator[pd.DataFrame]":
    """One log file's whole records at a time, columns as `read_records` has them: for who seeks a few among many."""
    for file in log_files(folder, days):
        table, _ = _read_file(file, 0)
        if len(table):
            yield table


def read_feedback(folder: Path, first_day: int = 0) -> "pd.DataFrame":
    """Columns id, label, at, key_id, boxes (a list of {label, box}, or None): of each id the last one said. first_day: day number;
    earlier days are not looked into."""
    import pandas as pd

    rows = []
    for file in log_files(folder):
        if file.day < first_day:
            continue
        with contextlib.suppress(FileNotFoundError):
            rows += [row for row, _ in lines(file.growing.read_bytes()) if row is not None]
    table = pd.DataFrame(rows, columns=["id", "label", "at", "key_id"])
    table["boxes"] = pd.Series([row.get("boxes") for row in rows], dtype=object)
    table["at"] = pd.to_datetime(table["at"], utc=True, format="ISO8601")
    return table.sort_values("at", kind="stable").drop_duplicates("id", keep="last").reset_index(drop=True)


def lines(data: bytes, start: int = 0) -> Iterator[tuple[dict[str, Any] | None, int]]:
    """(record, end offset) of each whole line from `start`; None for one that is no JSON object.

    A last line without its newline is being written, or was torn by a crash: it is left for the next reader.
    """
    while (end := data.find(b"\n", start)) >= 0:
        try:
            row = from_json(data[start:end])
        except ValueError:
            row = None
        start = end + 1
        yield (row if isinstance(row, dict) else None), start


def to_table(rows: list[dict[str, Any]], ends: list[int]) -> "pd.DataFrame":
    """One row a record, columns as `read_records` says and `log_offset`."""
    import pandas as pd

    nested = ("features", "embedding", "answer", "summary", "confidence", "confident")
    answers = [row.get("answer") or {} for row in rows]
    plain = [
        {name: value for name, value in answer.items() if not isinstance(value, list | dict)} for answer in answers
    ]
    table = _columns(rows, nested)
    table["at"] = pd.to_datetime(table["at"], utc=True, format="ISO8601")
    table["answer"] = [to_json(answer).decode() for answer in answers]
    table[OFFSET] = ends
    features = _columns([row.get("features") or {} for row in rows]).astype("float64")
    said = _columns(plain).add_prefix("answer_")
    summaries = [row.get("summary") for row in rows]
    if any(summaries):
        table["summary"] = [None if one is None else to_json(one).decode() for one in summaries]
        said = said.assign(**_columns([one or {} for one in summaries]).add_prefix("answer_").astype("float64"))
    said["answer_confidence"] = [row.get("confidence") for row in rows]
    said["answer_confident"] = [row.get("confident") for row in rows]
    embedding = pd.DataFrame(_matrix([row.get("embedding") or [] for row in rows])).add_prefix("e")
    return pd.concat([table, features, said, embedding], axis=1)


def _columns(rows: list[dict[str, Any]], left_out: tuple[str, ...] = ()) -> "pd.DataFrame":
    """All names that occur, in the order in which they do; ten times as fast as a table of the rows."""
    import pandas as pd

    names = dict.fromkeys(name for row in rows for name in row if name not in left_out)
    return pd.DataFrame({name: [row.get(name) for row in rows] for name in names}, index=range(len(rows)))


def _matrix(vectors: list[list[float]]) -> np.ndarray:
    """float32 [N, D]; a vector of another package may be shorter, then its end is not a number."""
    width = max(map(len, vectors), default=0)
    return np.array([[*vector, *[math.nan] * (width - len(vector))] for vector in vectors], np.float32)


def _read_file(file: LogFile, start: int) -> "tuple[pd.DataFrame, int]":
    """Rows after `start`, and where the next reader begins. A sealed file is whole, so it goes before the log."""
    if not file.sealed.is_file():
        with contextlib.suppress(FileNotFoundError):
            return _read_growing(file.growing, start)
    return _read_sealed(file.sealed, start)


def _read_growing(path: Path, start: int) -> "tuple[pd.DataFrame, int]":
    import pandas as pd

    with path.open("rb") as stream:
        stream.seek(start)
        data = stream.read()
    found = list(lines(data))
    kept = [(row, start + end) for row, end in found if row is not None]
    table = to_table([row for row, _ in kept], [end for _, end in kept]) if kept else pd.DataFrame()
    table.attrs["unreadable"] = len(found) - len(kept)
    return table, start + (found[-1][1] if found else 0)


def _read_sealed(path: Path, start: int) -> "tuple[pd.DataFrame, int]":
    import pandas as pd
    import pyarrow.parquet as pq

    try:
        end = int((pq.read_schema(path).metadata or {})[BYTES])
        if end <= start:
            return pd.DataFrame(), end
        return pq.read_table(path, filters=[(OFFSET, ">", start)]).to_pandas(), end
    except FileNotFoundError:  # Retention was faster.
        return pd.DataFrame(), start
