"""Closed log files become parquet, old days go. A row is never lost and never there twice, whenever this is killed."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from vision.records import day_number, folder_day
from vision.records_read import BYTES, OFFSET, LogFile, lines, log_files, to_table

ROWS_A_GROUP = 16_384
"""Of parquet: a record is found by its id in one group, since ids lie in order."""


def seal_closed(folder: Path) -> list[Path]:
    """Turns every file of records that no process has open into parquet, and returns the new files.

    The parquet is written aside, synced and renamed before the log file goes. After a crash between the two both are
    there: readers take the parquet, and the next call removes the log file. Several sealers may run at once.
    """
    made = []
    for file in log_files(folder):
        with _closed(file) as data:
            if data is None:
                continue
            if not file.sealed.is_file() and data.count(b"\n"):
                _write_parquet(file, data)
                made.append(file.sealed)
            file.growing.unlink()
    return made


def drop_old(folder: Path, keep_days: int, today: int | None = None) -> list[str]:
    """Removes the day folders before the last `keep_days` days and returns their names. A day is kept whole."""
    oldest = (day_number() if today is None else today) - keep_days
    old = [path for path in sorted(folder.iterdir()) if _is_before(path, oldest)] if folder.is_dir() else []
    for path in old:
        # Renamed first: a reader or a kill never meets half a day.
        gone = path.with_name(f".gone-{path.name}")
        shutil.rmtree(gone, ignore_errors=True)
        with suppress(FileNotFoundError):  # A service or a monitor sweeps at the same time.
            path.rename(gone)
    for left in folder.glob(".gone-*"):
        shutil.rmtree(left, ignore_errors=True)
    return [path.name for path in old]


def _is_before(path: Path, oldest: int) -> bool:
    day = folder_day(path.name)
    return day is not None and day < oldest


@contextmanager
def _closed(file: LogFile) -> Iterator[bytes | None]:
    """What is in the log file, under its lock; None when its writer lives or another sealer has it."""
    try:
        fd = os.open(file.growing, os.O_RDONLY)
    except FileNotFoundError:
        yield None
        return
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield None
            return
        # Locked, but removed while we waited: another sealer has done it.
        yield file.growing.read_bytes() if os.fstat(fd).st_nlink else None
    finally:
        os.close(fd)


def _write_parquet(file: LogFile, data: bytes) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables, whole, waiting = [], 0, lines(data)
    while piece := list(islice(waiting, ROWS_A_GROUP)):
        whole = piece[-1][1]
        kept = [(row, end) for row, end in piece if row is not None]
        if kept:
            rows, ends = zip(*kept, strict=True)
            tables.append(pa.Table.from_pandas(to_table(list(rows), list(ends)), preserve_index=False))
    tables = tables or [pa.Table.from_pandas(_no_rows(), preserve_index=False)]
    # Piece by piece, since rows as dicts take ten times the memory; a piece may lack a column, or hold nothing in one.
    table = pa.concat_tables(tables, promote_options="permissive")
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), BYTES: str(whole).encode()})
    partial = file.sealed.with_name(f".{file.sealed.name}.partial")
    with partial.open("wb") as stream:
        pq.write_table(table, stream, row_group_size=ROWS_A_GROUP, compression="zstd")
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(file.sealed)
    _sync_folder(file.sealed.parent)


def _no_rows():
    import pandas as pd

    return pd.DataFrame({"id": pd.Series(dtype=str), OFFSET: pd.Series(dtype="int64")})


def _sync_folder(folder: Path) -> None:
    """The rename itself has to survive a power cut before the log file goes."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
