"""Gauges that no worker sets: read at each scrape from what the monitor and the release step last wrote, and the disk.

A source that is missing, half written or strange gives no gauge and never an error: who watches asks for the age of
the last run, not for its presence alone.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vision.release import RELEASE

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily

    from bentos.metrics.names import Metric

MAX_LABEL_CHARS = 64


def read_json(path: Path) -> dict[str, Any]:
    """Empty when there is nothing that can be understood."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def read_disk(folder: Path) -> dict[str, Any]:
    """`free` and `total` bytes of the disk that the folder is on, or will be."""
    there = next((path for path in (folder, *folder.parents) if path.exists()), None)
    try:
        return shutil.disk_usage(there)._asdict() if there else {}
    except OSError:
        return {}


SOURCES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "monitor": lambda folder: read_json(folder / "monitor" / "status.json"),
    "release": lambda folder: read_json(folder / "release_status.json"),
    "wanted": lambda folder: read_json(folder / RELEASE),
    "disk": read_disk,
}
"""By name: the system's folder -> fields."""


class ReadMetrics:
    """A collector of prometheus_client."""

    def __init__(self, folder: Path, prefix: str, metrics: Iterable["Metric"]) -> None:
        """folder: the system's. metrics: those with `read`."""
        self._folder, self._prefix, self._metrics = folder, prefix, tuple(metrics)

    def collect(self) -> list["GaugeMetricFamily"]:
        fields = {name: read(self._folder) for name, read in SOURCES.items()}
        return [family for metric in self._metrics if (family := self._family(metric, fields)) is not None]

    def _family(self, metric: "Metric", fields: Mapping[str, Mapping[str, Any]]) -> "GaugeMetricFamily | None":
        """A metric with a label has the field's text as that label, and the value 1."""
        from prometheus_client.core import GaugeMetricFamily

        source, field = metric.read or ("", "")
        found, name = fields[source].get(field), self._prefix + metric.name
        if metric.labels:
            if not isinstance(found, str):
                return None
            family = GaugeMetricFamily(name, metric.help, labels=metric.labels)
            family.add_metric([found[:MAX_LABEL_CHARS]], 1.0)
            return family
        value = _number(found)
        return None if value is None else GaugeMetricFamily(name, metric.help, value=value)


def _number(found: Any) -> float | None:
    """A number as it is, a time as seconds since 1970; None for all else."""
    try:
        if isinstance(found, str):
            return datetime.fromisoformat(found).timestamp()
        return float(found) if isinstance(found, int | float) else None
    except (ValueError, OverflowError, OSError):
        return None
