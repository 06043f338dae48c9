"""Metrics to JSON and back. An undefined metric (accuracy of no images) is NaN in code and null in a file: JSON has no NaN."""

import math
from collections.abc import Mapping


def stored(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else float(value) for name, value in metrics.items()}


def restored(metrics: Mapping[str, float | None]) -> dict[str, float]:
    return {name: math.nan if value is None else value for name, value in metrics.items()}
