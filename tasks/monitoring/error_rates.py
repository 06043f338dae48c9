"""How often the monitor cries wolf and what it would miss, measured once for a package and a window size."""

from itertools import takewhile
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from tasks.monitoring.state import MonitorFolder, write_durably
from tasks.run import Run
from vision.lineage import sha256_json, source_sha
from vision.monitoring.error_rates import (
    DetectableShift,
    FalseAlarms,
    can_be_halved,
    detectable_shift,
    measure_false_alarms,
)
from vision.package import Package
from vision.settings import Section

SIZES = (50, 75, 100, 150, 200, 300, 500, 700, 1000, 1500, 2000, 3000, 5000)
"""Windows are measured as the next smaller of these: a window of 213 is no other thing than one of 200."""
SEED = 0
POWER_WINDOWS = 40
DECISIVE = {
    "alpha", "permutations", "max_rows", "null_windows", "alarm_windows", "of_windows", "accuracy_drop", "min_labels",
}  # fmt: skip
"""Settings that the rates hang on."""


class ErrorRates(Section):
    key: str
    false_alarms: FalseAlarms | None = None
    detectable: tuple[DetectableShift, ...] = ()


def measured_error_rates(run: Run, package: Package, reference: pd.DataFrame, rows: int) -> ErrorRates:
    """rows: of the window that were tested. Nothing in it where the reference is too small to draw windows from."""
    size, config = [*takewhile(lambda size: size <= rows, SIZES)][-1], run.config.monitor
    path = MonitorFolder(run).error_rates(package.package_sha, size)
    key = sha256_json([config.model_dump(include=DECISIVE), source_sha(("vision.monitoring.error_rates",))])
    if (known := _read(path)) and known.key == key:
        return known
    print(f"  measuring this monitor's own error rates in windows of {size} (once for this package)", flush=True)
    found, power = ErrorRates(key=key), min(POWER_WINDOWS, config.null_windows)
    if can_be_halved(reference):
        found = ErrorRates(
            key=key,
            false_alarms=measure_false_alarms(reference, size, config, windows=config.null_windows, seed=SEED),
            detectable=detectable_shift(reference, size, config, windows=power, seed=SEED),
        )
    write_durably(path, found.model_dump_json(indent=1))
    return found


def _read(path: Path) -> ErrorRates | None:
    """None for what isn't there, or was written by another version of VisionOps."""
    try:
        return ErrorRates.model_validate_json(path.read_text())
    except (FileNotFoundError, ValidationError):
        return None
