"""What a contract is made of: tables, and rules over their columns. Plain values, no Great Expectations."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from configs.contract import Rule
from vision.data.boxes.geometry import NORMAL, boxes_of, has_boxes

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class ColumnRule:
    """One rule over one column. `expectation`: a built-in class of Great Expectations, `arguments`: its thresholds.

    Thresholds are arguments and never class defaults: only arguments are written into Data Docs.
    """

    name: Rule
    column: str
    expectation: str
    arguments: dict[str, Any]
    allowed: str
    """The threshold in words."""


@dataclass(frozen=True)
class Table:
    """A table and its rules. `key`: columns that name a failing row, the first in lists, the others beside it."""

    name: str
    noun: str
    key: tuple[str, ...]
    rows: pd.DataFrame = field(repr=False)
    rules: tuple[ColumnRule, ...]


def in_set(name: Rule, column: str, values: list[Any], allowed: str, max_share: float = 0.0) -> ColumnRule:
    """Values of `column` are among `values`, but for a share of `max_share` of the rows that have one."""
    arguments = {"value_set": values, "mostly": at_least(max_share)}
    return ColumnRule(name, column, "ExpectColumnValuesToBeInSet", arguments, allowed)


def empty(name: Rule, column: str, allowed: str, max_share: float) -> ColumnRule:
    """`column` holds nothing, but for a share of `max_share` of the rows."""
    return ColumnRule(name, column, "ExpectColumnValuesToBeNull", {"mostly": at_least(max_share)}, allowed)


def between(name: Rule, column: str, allowed: str, low: float | None = None, high: float | None = None) -> ColumnRule:
    return ColumnRule(name, column, "ExpectColumnValuesToBeBetween", {"min_value": low, "max_value": high}, allowed)


def at_least(max_share: float) -> float:
    """1 - max_share without the float's tail: 1 - 0.42 is 0.5800000000000001, which 58 of 100 would miss."""
    return round(1 - max_share, 12)


def readable(splits: pd.DataFrame) -> pd.DataFrame:
    return splits[splits["error"].isna()]


def boxed(splits: pd.DataFrame) -> bool:
    """Does this data say where its defects are?"""
    return "boxes" in splits and bool(splits["boxes"].map(has_boxes).any())


def of_boxes(labels: Sequence[str]) -> bool:
    """Of data with boxes: are these labels their classes? Else they say of a whole image whether it has a defect."""
    return NORMAL not in labels


def memberships(splits: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """Which image counts for which class. Columns: label, split; an image has a row for each class that it shows.

    Where boxes are of the classes asked for they decide, and an image without any counts for none; elsewhere its label does.
    """
    rows = readable(splits)
    if not (boxed(rows) and of_boxes(labels)):
        return rows[["label", "split"]]
    kinds = rows["boxes"].map(lambda value: sorted({box.label for box in boxes_of(value)}))
    return pd.DataFrame({"label": kinds, "split": rows["split"]}).explode("label").dropna(subset="label")


def at_most(max_share: float) -> str:
    return f"at most {max_share:.2%} of the images" if max_share else "no image"
