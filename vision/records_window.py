"""The next window of one model's records, read in pieces and only in the columns that a monitor needs.

Which rows a window has hangs on offsets alone: between the same two watermarks lie the same rows, whether their files
were sealed meanwhile or not.
"""

import contextlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vision.data.features import FEATURES
from vision.records_read import BYTES, OFFSET, LogFile, Watermark, lines, log_files, to_table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow.parquet as pq

PIECE_BYTES = 8 * 2**20
PIECE_ROWS = 4096
"""Of a sealed file; about as much."""
PLAIN = ("id", "at", "package_sha", "model_version", "route", *FEATURES)
SHADOW = "shadow"
"""Route of a challenger's answer that nobody was shown."""
NAMED = re.compile(r"answer_\w+|e\d+")


@dataclass(frozen=True)
class Taken:
    """table: the model's rows, `attrs["unreadable"]` lines that are no records. until: where the next window begins.

    others: rows of other packages, by hash. shadow: rows that the package gave in the shadow of another; nobody was shown them.
    more: whether records are left after `until`.
    """

    table: "pd.DataFrame"
    until: Watermark
    others: dict[str, int]
    more: bool
    shadow: int = 0


def take_window(folder: Path, since: Watermark, package_sha: str, most: int, until: Watermark | None = None) -> Taken:
    """The rows after `since` that `package_sha` served, about `most` of them at most; with `until` exactly those before it.

    Columns: id, at, package_sha, model_version, route, FEATURES, answer_*, e0 ..., as `read_records` has them.
    """
    import pandas as pd

    tables, others, offsets, unreadable, more = [], Counter(), dict(since.offsets), 0, False
    files = log_files(folder)
    for file in files:
        if more:
            break
        start, end = since.offsets.get(file.name, 0), None if until is None else until.offsets.get(file.name, 0)
        for table, reached in _pieces(file, start, end):
            if sum(map(len, tables)) >= most and until is None:
                more = True
                break
            offsets[file.name] = reached
            unreadable += table.attrs.get("unreadable", 0)
            if len(table):
                others.update(table["package_sha"].dropna())
                tables.append(_served(table, package_sha))
    shadow = others.pop(package_sha, 0) - sum(map(len, tables))
    tables = [table for table in tables if len(table)]
    rows = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(PLAIN))
    rows.attrs["unreadable"] = unreadable
    there = {file.name for file in files}
    until = Watermark(offsets={name: at for name, at in offsets.items() if name in there})
    return Taken(rows, until, dict(others), more, shadow)


def _served(table: "pd.DataFrame", package_sha: str) -> "pd.DataFrame":
    table = table[table["package_sha"] == package_sha]
    return table[table["route"] != SHADOW] if "route" in table else table


def _pieces(file: LogFile, start: int, end: int | None) -> "Iterator[tuple[pd.DataFrame, int]]":
    """(rows, offset behind them) of one log file from `start`, to `end` where one is given; nothing where nothing is new."""
    if not file.sealed.is_file():
        with contextlib.suppress(FileNotFoundError):
            for piece in _growing(file.growing, start, end):
                start = piece[1]
                yield piece
            return
    with contextlib.suppress(FileNotFoundError):  # retention was faster
        yield from _sealed(file.sealed, start, end)


def _growing(path: Path, start: int, end: int | None) -> "Iterator[tuple[pd.DataFrame, int]]":
    with path.open("rb") as stream:
        stream.seek(start)
        rest = b""
        while True:
            wanted = PIECE_BYTES if end is None else min(PIECE_BYTES, end - start - len(rest))
            data = stream.read(max(wanted, 0))
            whole = rest + data
            cut = whole.rfind(b"\n") + 1
            if cut:
                yield _table(whole[:cut], start)
            start, rest = start + cut, whole[cut:]
            if not data:
                return


def _table(data: bytes, start: int) -> "tuple[pd.DataFrame, int]":
    import pandas as pd

    found = list(lines(data))
    kept = [(row, end) for row, end in found if row is not None and "package_sha" in row]
    table = pd.DataFrame()
    if kept:
        table = _needed(to_table([row for row, _ in kept], [end for _, end in kept]))
    table.attrs["unreadable"] = len(found) - len(kept)
    return table, start + len(data)


def _sealed(path: Path, start: int, end: int | None) -> "Iterator[tuple[pd.DataFrame, int]]":
    import pandas as pd
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        whole = int((file.schema_arrow.metadata or {})[BYTES])
        end = whole if end is None else min(end, whole)
        if start >= end:
            return
        held = pd.DataFrame(), start
        for piece in _sealed_rows(file, start, end):
            if len(held[0]):
                yield held
            held = piece
        yield held[0], end  # What follows the last row is no record.


def _sealed_rows(file: "pq.ParquetFile", start: int, end: int) -> "Iterator[tuple[pd.DataFrame, int]]":
    """Rows whose line ended in ]start, end], and where the last of them did; one row group at a time is in memory."""
    names = [name for name in file.schema_arrow.names if _is_needed(name)]
    for group in range(file.num_row_groups):
        ends = file.read_row_group(group, [OFFSET])[OFFSET].to_numpy()
        wanted = (ends > start) & (ends <= end)
        if wanted.any():
            rows, ends = file.read_row_group(group, names).to_pandas()[wanted], ends[wanted]
            for first in range(0, len(rows), PIECE_ROWS):
                piece = rows.iloc[first : first + PIECE_ROWS].reset_index(drop=True)
                yield piece, int(ends[first + len(piece) - 1])


def _needed(table: "pd.DataFrame") -> "pd.DataFrame":
    return table[[name for name in table if _is_needed(name)]]


def _is_needed(name: str) -> bool:
    return name in PLAIN or NAMED.fullmatch(name) is not None
