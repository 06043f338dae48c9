"""The lines of one release: answers, failures and labels, read from the service's logs. Only the columns that count."""

import contextlib
import mmap
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from vision.failures import Failure, read_failures
from vision.records import QUEUE_KEY
from vision.records_read import LogFile, lines, log_files, read_feedback

if TYPE_CHECKING:
    import pandas as pd

PLAIN = (
    "id", "at", "package_sha", "model_version", "release_no", "route", "pair_id", "client_hash", "batch_size",
    "compute_ms", "agrees",
)  # fmt: skip
SAID = ("answer_label", "answer_confident")
COLUMNS = (*PLAIN, *SAID)
RELEASE_NO = re.compile(rb'"release_no": ?(\d+)')
ID = re.compile(rb'"(?:pair_)?id": ?"([0-9a-f-]{36})"')
FEATURES_KEY = b',"features":{'
"""Nothing but numbers follows: `vision.records.record_line`."""
LATE_BYTES = 8 * 2**20
"""What a worker may write while answers of the release before are under way: a request's whole time, 400 lines a second."""


@dataclass(frozen=True)
class Rows:
    """answers: COLUMNS, in order of their ids, which is that of time; each id once. labels: id -> true label.
    asked_for: ids whose label the label queue has asked for."""

    answers: "pd.DataFrame"
    failures: tuple[Failure, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    asked_for: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Logs:
    """The folders of one system."""

    records: Path
    failures: Path
    feedback: Path


def read_rows(logs: Logs, numbers: Collection[int], first_day: int, labelled: bool = False) -> Rows:
    """Of the releases `numbers`. first_day: day number; files of days before it are not opened.

    labelled: only answers to images that people have labelled, beside which the others are many.
    """
    said = read_feedback(logs.feedback, first_day)
    labels = dict(said[["id", "label"]].itertuples(index=False))
    asked_for = frozenset(said["id"][said["key_id"].astype(str).str.startswith(QUEUE_KEY)])
    failures = tuple(one for one in read_failures(logs.failures, first_day=first_day) if one.release_no in numbers)
    wanted = Wanted(frozenset(numbers), frozenset(labels) if labelled else None)
    return Rows(read_answers(logs.records, wanted, first_day), failures, labels, asked_for)


@dataclass(frozen=True)
class Wanted:
    """Rows of these releases. ids: and of these images only, each named by the answer that its client got."""

    numbers: frozenset[int]
    ids: frozenset[str] | None = None


def read_answers(folder: Path, wanted: Wanted, first_day: int) -> "pd.DataFrame":
    import pandas as pd

    files = [file for file in log_files(folder) if file.day >= first_day]
    tables = [table for file in files if len(table := _read(file, wanted))]
    if not tables:
        return pd.DataFrame(columns=COLUMNS)
    whole = pd.concat(tables, ignore_index=True).dropna(subset=["at", "answer_confident", "batch_size", "compute_ms"])
    return whole.drop_duplicates("id").sort_values("id", ignore_index=True)


def _read(file: LogFile, wanted: Wanted) -> "pd.DataFrame":
    """A sealed file is whole, so it goes before the log."""
    import pandas as pd

    table = None
    if not file.sealed.is_file():
        with contextlib.suppress(FileNotFoundError):
            table = pd.DataFrame([_flat(row) for row in _grown(file.growing, wanted)], columns=COLUMNS)
    table = _sealed(file.sealed, wanted.numbers) if table is None else table
    if wanted.ids is not None:
        table = table[table["id"].isin(wanted.ids) | table["pair_id"].isin(wanted.ids)]
    return _timed(table)


def _grown(path: Path, wanted: Wanted) -> Iterator[dict[str, Any]]:
    """Raises `FileNotFoundError`. Lines are told by their text first, and numbers that nobody asks for are not read."""
    mark = re.compile(rb'"release_no": ?(%s)\b' % b"|".join(b"%d" % number for number in wanted.numbers))
    with path.open("rb") as stream:
        stream.seek(first_of_release(stream, min(wanted.numbers)))
        for line in stream:
            if not mark.search(line):
                continue
            head = _head(line)
            if wanted.ids is None or not wanted.ids.isdisjoint(map(bytes.decode, ID.findall(head))):
                yield from (
                    row for row, _ in lines(head) if row is not None and row.get("release_no") in wanted.numbers
                )


def first_of_release(stream: BinaryIO, number: int) -> int:
    """Offset of a line before which no release of this number or a later one has answered, by bisection.

    A worker's releases follow each other, but for answers that were under way when the next one came.
    """
    if stream.seek(0, os.SEEK_END) == 0:
        return 0
    with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        low, high = 0, len(data)
        while low < high:
            begin = data.rfind(b"\n", low, (low + high) // 2) + 1 or low
            found = RELEASE_NO.search(data, begin, high)
            if found is not None and int(found[1]) < number:
                low = (data.find(b"\n", found.end(), high) + 1) or high
            else:
                high = begin
        return data.rfind(b"\n", 0, max(0, low - LATE_BYTES)) + 1


def _head(line: bytes) -> bytes:
    """A line without features and embedding, which are most of it and stand at its end; a torn one as it is."""
    cut = line.rfind(FEATURES_KEY)
    return line if cut < 0 or not line.endswith(b"]}\n") else line[:cut] + b"}\n"


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    answer = row.get("answer") or {}
    said = {"answer_label": answer.get("label"), "answer_confident": row.get("confident")}
    return {name: row.get(name) for name in PLAIN} | said


def _sealed(path: Path, numbers: Collection[int]) -> "pd.DataFrame":
    import pandas as pd
    import pyarrow.parquet as pq

    try:
        known = set(pq.read_schema(path).names)
        if "release_no" not in known:
            return pd.DataFrame(columns=COLUMNS)
        columns = [name for name in COLUMNS if name in known]
        table = pq.read_table(path, columns=columns, filters=[("release_no", "in", sorted(numbers))]).to_pandas()
    except FileNotFoundError:  # Retention was faster.
        return pd.DataFrame(columns=COLUMNS)
    return table.reindex(columns=list(COLUMNS))


def _timed(table: "pd.DataFrame") -> "pd.DataFrame":
    import pandas as pd

    at = pd.to_datetime(table["at"], utc=True, format="ISO8601")
    # An empty column of a file would have another type than a full one of the next.
    plain = {name: table[name].astype(object) for name in ("pair_id", "client_hash", "agrees")}
    return table.assign(at=at, **{name: column.where(column.notna(), None) for name, column in plain.items()})
