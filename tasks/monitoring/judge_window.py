"""The verdict on one window: did it drift, why, and do enough of the last windows say so?"""

from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.monitoring.error_rates import measured_error_rates
from tasks.monitoring.state import MonitorFolder, WindowVerdict, window_name
from tasks.monitoring.windows import Window, champion_package
from tasks.run import Run
from vision.errors import MachineError
from vision.kinds import answering
from vision.monitoring.diagnosis import Diagnosis, diagnose
from vision.monitoring.drift import DriftResult, find_drift
from vision.records_read import read_feedback

REFERENCE = "reference.parquet"
UNITS = {"number": "sd", "category": "V", "embedding": "MMD"}
NAMED = 6
"""Columns that a sentence names."""


class Found(NamedTuple):
    drift: DriftResult
    diagnosis: Diagnosis


@task(name="judge-window", cache_policy=NO_CACHE, persist_result=False, tags=["monitoring"])
def judge_window(run: Run, window: Window) -> WindowVerdict:
    """Raises `MachineError` where package or reference are damaged; then the window is judged by the next run."""
    package = champion_package(run, window.release)
    reference, config = read_reference(package.folder), run.config.monitor
    drift = find_drift(reference, window.table, config, seed=window.no)
    feedback = read_feedback(run.state.feedback(run.config.system))
    words = answering(package.spec.kind).vocabulary(package.spec.labels)
    diagnosis = diagnose(reference, window.table, drift, feedback, config, words)
    rates = measured_error_rates(run, package, reference, drift.rows)
    verdict = _verdict(run, window, reference, Found(drift, diagnosis))
    return verdict.model_copy(update={"false_alarms": rates.false_alarms, "detectable": rates.detectable})


def read_reference(folder: Path) -> pd.DataFrame:
    """Of a package in `folder`. Raises `MachineError`."""
    path = folder / REFERENCE
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise MachineError(
            f"{path} can't be read: {error}",
            "the table that the export wrote",
            "train again: a new package has a new one",
        ) from None


def _verdict(run: Run, window: Window, reference: pd.DataFrame, found: Found) -> WindowVerdict:
    rows, config, (drift, diagnosis) = window.table, run.config.monitor, found
    changed = drift.drifted or diagnosis.cause != "none"
    before = [
        verdict
        for verdict in MonitorFolder(run).latest(window.no, config.of_windows - 1)
        if verdict.package_sha == window.rows.package_sha
    ]
    sure = _mean(rows, "answer_confident")
    count = changed + sum(verdict.changed for verdict in before)
    return WindowVerdict(
        no=window.no,
        name=window_name(window.no, window.rows.package_sha, rows["id"]),
        at=datetime.now(UTC),
        records=len(rows),
        first_at=rows["at"].min(),
        last_at=rows["at"].max(),
        first_id=rows["id"].min(),
        last_id=rows["id"].max(),
        package_sha=window.rows.package_sha,
        model_version=window.release.champion.version,
        others=window.taken.others,
        unreadable=rows.attrs.get("unreadable", 0),
        drift=drift,
        diagnosis=diagnosis,
        mean_confidence=_mean(rows, "answer_confidence"),
        reference_mean_confidence=_mean(reference, "answer_confidence"),
        low_confidence_share=None if sure is None else 1 - sure,
        changed=changed,
        changed_windows=count,
        windows_asked=len(before) + 1,
        alarm=changed and count >= config.alarm_windows,
    )


def _mean(rows: pd.DataFrame, name: str) -> float | None:
    """None where nobody said."""
    values = pd.to_numeric(rows[name], errors="coerce").dropna() if name in rows else pd.Series(dtype=float)
    return float(values.mean()) if len(values) else None


def evidence_words(verdict: WindowVerdict) -> tuple[str, ...]:
    """Why the window counts as changed, or that it does not; one line a cause."""
    drift = verdict.drift
    p_value = f"p = {drift.p_value:.2g}, corrected over {len(drift.tests)} columns; drift from {drift.alpha:g} on"
    if verdict.changed:
        reasons = (
            f"{reason.partition(':')[0].replace('_', ' ')}:{reason.partition(':')[2]}"
            for reason in verdict.diagnosis.reasons
        )
        training = [f"training {verdict.diagnosis.training}"] if verdict.diagnosis.training else []
        return (*reasons, *training, *_moved(drift), p_value)
    return (f"nothing in {verdict.records:,} records differs from the reference by more than chance ({p_value})",)


def _moved(drift: DriftResult) -> list[str]:
    """The columns that drifted, the surest and largest first."""
    tests = sorted(
        (test for test in drift.tests if test.drifted), key=lambda test: (test.p_corrected, -abs(test.effect))
    )
    names = [f"{test.name.replace('_', ' ')} ({test.effect:+.2g} {UNITS[test.kind]})" for test in tests[:NAMED]]
    return [f"moved: {', '.join(names)}{' and more' * (len(tests) > NAMED)}"] if names else []


def headline(verdict: WindowVerdict) -> str:
    """`no change`, `covariate shift, 1 of 3 windows`, `ALARM: …`."""
    if not verdict.changed:
        return "no change"
    cause = verdict.diagnosis.cause.replace("_", " ") if verdict.diagnosis.cause != "none" else "drift"
    count = f"{cause}, {verdict.changed_windows} of {verdict.windows_asked} windows"
    return f"ALARM: {count}" if verdict.alarm else count
