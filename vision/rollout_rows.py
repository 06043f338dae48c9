"""The lines of one release: answers, failures and labels, read from the service's logs. Only the columns that count."""

import contextlib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vision.failures import Failure, read_failures
from vision.records_read import LogFile, lines, log_files, read_feedback

if TYPE_CHECKING:
    import pandas as pd

PLAIN = (
    "id", "at", "package_sha", "model_version", "release_no", "route", "pair_id", "client_hash", "batch_size",
    "compute_ms",
)  # fmt: skip
SAID = ("answer_label", "answer_confident")
COLUMNS = (*PLAIN, *SAID)


@dataclass(frozen=True)
class Rows:
    """answers: COLUMNS, in order of their ids, which is that of time; each id once. labels: id -> true label."""

    answers: "pd.DataFrame"
    failures: tuple[Failure, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Logs:
    """The folders of one system."""

    records: Path
    failures: Path
    feedback: Path


def read_rows(logs: Logs, numbers: Collection[int], first_day: int) -> Rows:
    """Of the releases `numbers`. first_day: day number; records of days before it are not looked into."""
    labels = dict(read_feedback(logs.feedback)[["id", "label"]].itertuples(index=False))
    failures = tuple(one for one in read_failures(logs.failures) if one.release_no in numbers)
    return Rows(read_answers(logs.records, numbers, first_day), failures, labels)


def read_answers(folder: Path, numbers: Collection[int], first_day: int) -> "pd.DataFrame":
    import pandas as pd

    files = [file for file in log_files(folder) if file.day >= first_day]
    tables = [table for file in files if len(table := _read(file, numbers))]
    if not tables:
        return pd.DataFrame(columns=COLUMNS)
    whole = pd.concat(tables, ignore_index=True).dropna(subset=["at", "answer_confident", "batch_size", "compute_ms"])
    return whole.drop_duplicates("id").sort_values("id", ignore_index=True)


def _read(file: LogFile, numbers: Collection[int]) -> "pd.DataFrame":
    """A sealed file is whole, so it goes before the log."""
    import pandas as pd

    if not file.sealed.is_file():
        with contextlib.suppress(FileNotFoundError):
            found = [_flat(row) for row in _grown(file.growing, numbers)]
            return pd.DataFrame(found, columns=COLUMNS).pipe(_timed)
    return _sealed(file.sealed, numbers)


def _grown(path: Path, numbers: Collection[int]) -> Iterator[dict[str, Any]]:
    """Lines of other releases are told by their text: most of a day's may be. Raises `FileNotFoundError`."""
    mark = re.compile(rb'"release_no": ?(%s)\b' % b"|".join(b"%d" % number for number in numbers))
    with path.open("rb") as stream:
        for line in stream:
            if mark.search(line):
                yield from (row for row, _ in lines(line) if row is not None and row.get("release_no") in numbers)


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
    return table.reindex(columns=list(COLUMNS)).pipe(_timed)


def _timed(table: "pd.DataFrame") -> "pd.DataFrame":
    import pandas as pd

    at = pd.to_datetime(table["at"], utc=True, format="ISO8601")
    # An empty column of a file would have another type than a full one of the next.
    return table.assign(at=at, **{name: table[name].astype(object) for name in ("pair_id", "client_hash")})
