"""What the gate reads of a model, and one question that it asks."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class GateInput:
    """A model as the gate sees it. `rows`: columns path, sha256, label, right, and where there are any family and
    answer."""

    name: str
    headline: str
    metrics: Mapping[str, float]
    per_class: pd.DataFrame
    rows: pd.DataFrame


@dataclass(frozen=True)
class Check:
    """One question of the gate. `reason` says asked and got in one line; `warning` what a reader should know
    besides."""

    what: str
    asked: str
    got: str
    passed: bool
    reason: str
    warning: str = ""


def show(value: float, beside: float = math.nan) -> str:
    """Two decimals, or as many as it takes to tell `value` from `beside`."""
    for digits in range(2, 7):
        if value == beside or math.isnan(beside) or f"{value:.{digits}f}" != f"{beside:.{digits}f}":
            return f"{value:.{digits}f}"
    return f"{value:.9f}"
