"""Named groups: images that a table says belong together (one plant, one patient, shots in a row)."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from vision.data.config import GroupTable
from vision.errors import UserError

GROUPS = "groups.csv"
"""Of a dataset folder."""


def read_groups(folder: Path, table: GroupTable) -> pd.Series:
    """Group name by file (`<class>/<name>`, as the table says), from the CSV that lies in `folder`.

    Raises `UserError` for a table, column or pattern that doesn't fit.
    """
    return _named(_read(folder / table.table, table), table.file_column, table.key_column, table)


def _named(rows: pd.DataFrame, file_column: str, key_column: str, table: GroupTable) -> pd.Series:
    parts = pd.Series([_match(text, table) for text in rows[key_column]], index=rows.index, dtype=object)
    if bad := [text for text, part in zip(rows[key_column], parts, strict=True) if part is None]:
        raise UserError(
            f"groups.pattern {table.pattern!r} does not fit {len(bad)} of {len(rows)} values of {key_column}, "
            f"such as {bad[0]!r}",
            "a regex whose groups find the key; with run_gap its last group is a whole number",
            "correct data.source.groups.pattern",
        )
    rows, parts = rows[parts.map(len) > 0], parts[parts.map(len) > 0]
    labels = rows[file_column].str.split("/").str[0]
    names = parts.map("/".join) if table.run_gap is None else _runs(labels, parts, table.run_gap)
    return pd.Series(names.to_numpy(), index=rows[file_column].to_numpy(), name="group")


def groups_of(folder: Path, table: GroupTable, keys: Sequence[str]) -> dict[str, str]:
    """Group name by key (the image's path in the source) of those images that have one.

    Without a table the pattern is applied to the keys themselves. Raises `UserError` as `read_groups`, and for a table that
    names none of them.
    """
    own = pd.DataFrame({"file": keys, "key": keys})
    named = _named(own, "file", "key", table) if table.table is None else read_groups(folder, table)
    known = {key: str(named[key]) for key in keys if key in named.index}
    if not known and table.table is not None:
        raise UserError(
            f"{table.table} names none of the {len(keys)} images (its first: {named.index[0]!r})"
            if len(named)
            else f"{table.table} is empty",
            f"the image's path in the source, such as {keys[0]}, in groups.file_column",
            "correct data.source.groups",
        )
    return known


def write_groups(folder: Path, rows: Sequence[tuple[str, str]]) -> Path:
    """rows: (path in the dataset folder, group). Returns the table's file, `folder`/groups.csv."""
    place = folder / GROUPS
    with place.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("path", "group"))
        writer.writerows(rows)
    return place


def _read(path: Path, table: GroupTable) -> pd.DataFrame:
    if not path.is_file():
        raise UserError(f"no file {path}", "a CSV with the columns of data.source.groups", "correct groups.table")
    try:
        rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, UnicodeDecodeError) as error:  # pandas' parser errors are ValueErrors
        raise UserError(f"{path} can't be read: {error}", "a CSV with a header line", "mend the table") from None
    for column in (table.file_column, table.key_column):
        if column not in rows:
            raise UserError(
                f"{path} has no column {column!r}",
                f"its columns: {', '.join(rows.columns)}",
                "correct groups.file_column or groups.key_column",
            )
    return rows.drop_duplicates(table.file_column)


def _match(text: str, table: GroupTable) -> tuple[str, ...] | None:
    """The pattern's groups in `text`; nothing where it fits without any of them, None where it doesn't fit."""
    found = re.search(table.pattern, text)
    if found is None:
        return None
    if set(found.groups()) == {None}:
        return ()
    parts = tuple(part or "" for part in found.groups())
    return None if table.run_gap is not None and not parts[-1].isdecimal() else parts


def _runs(labels: pd.Series, parts: pd.Series, gap: int) -> pd.Series:
    """The run of each row: rows of one label and series whose sorted numbers never jump by more than `gap`."""
    rows = pd.DataFrame({"label": labels, "series": parts.map(lambda p: "/".join(p[:-1]))})
    rows["number"] = parts.map(lambda p: int(p[-1]))
    rows = rows.sort_values(["label", "series", "number"], kind="stable")
    same = (rows[["label", "series"]] == rows[["label", "series"]].shift()).all(axis=1)
    starts = ~same | (rows["number"].diff() > gap)
    first = rows["number"].where(starts).ffill().astype(int).astype(str)
    return (rows["label"] + "/" + rows["series"] + "/" + first).reindex(labels.index)
