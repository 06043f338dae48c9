"""What a contract is made of: tables, and rules over their columns. Plain values, no Great Expectations."""

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from configs.contract import Rule

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


def at_most(max_share: float) -> str:
    return f"at most {max_share:.2%} of the images" if max_share else "no image"
