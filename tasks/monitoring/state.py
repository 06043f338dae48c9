"""What the monitor remembers of a system, all in `<system>/monitor/`: where it has come to, and each window's verdict.

Order of a window: `windows/<no>/rows.json` (which rows), report, `verdict.json`, `status.json`, and `watermark.json`
last. A monitor that was killed before that judges the same rows again.
"""

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, ValidationError

from tasks.monitoring.governor import Decision
from tasks.run import Run
from vision.errors import MachineError
from vision.lineage import sha256_json
from vision.monitoring.diagnosis import Diagnosis
from vision.monitoring.drift import DriftResult
from vision.monitoring.error_rates import DetectableShift, FalseAlarms
from vision.monitoring.estimate_scores import ScoredEstimate
from vision.monitoring.performance import Estimate
from vision.records_read import Watermark
from vision.settings import Section

SCORED_WINDOWS = 30
"""So far back estimates are held against labels."""
VERDICT, ROWS, SCORE = "verdict.json", "rows.json", "score.json"


class Mark(Section):
    """`window`: the number of the last one that is finished."""

    window: int = 0
    watermark: Watermark = Watermark()


class WindowRows(Section):
    """Which rows a window has: those of `package_sha` between two watermarks."""

    package_sha: str
    since: Watermark
    until: Watermark


class WindowVerdict(Section):
    """What was found of one window. `records`: of the champion's package; `others`: of other packages, by hash.

    name: as a training knows it. first_id, last_id: ids lie in order of time. changed: it drifted, or the diagnosis has a
    cause without drift (labels, a fault). changed_windows: how many of the latest `monitor.of_windows` windows of this
    package changed, this one included. alarm: enough of them, and this one. request: what the governor said, None where
    nothing was asked of it. new_labels: images labelled since the last training that passed.
    """

    no: int
    name: str = ""
    at: AwareDatetime
    records: int
    first_at: AwareDatetime
    last_at: AwareDatetime
    first_id: str = ""
    last_id: str = ""
    package_sha: str
    model_version: int
    others: dict[str, int] = {}
    unreadable: int = 0
    drift: DriftResult
    diagnosis: Diagnosis
    false_alarms: FalseAlarms | None = None
    detectable: tuple[DetectableShift, ...] = ()
    mean_confidence: float | None
    reference_mean_confidence: float | None
    low_confidence_share: float | None
    changed: bool
    changed_windows: int
    windows_asked: int
    alarm: bool
    new_labels: int | None = None
    reason: str = ""
    request: Decision | None = None


class WindowScore(Section):
    """The label-free estimate of a judged window against labels that came later. said: words about answers of its time when it
    was scored, of whatever model. scored: None where too few were about its own.
    """

    no: int
    model_version: int
    said: int
    scored: ScoredEstimate | None = None


class MonitorFolder:
    """Of one system. Makes nothing until something is written."""

    def __init__(self, run: Run) -> None:
        self.root = run.folder / "monitor"

    def window(self, no: int) -> Path:
        return self.root / "windows" / str(no)

    @property
    def evidently(self) -> Path:
        """Evidently's workspace, for `evidently ui --workspace`."""
        return self.root / "evidently"

    def error_rates(self, package_sha: str, rows: int) -> Path:
        return self.root / "error_rates" / f"{package_sha}-{rows}.json"

    def mark(self) -> Mark:
        """Raises `MachineError` for a file that can't be understood: to begin anew is for a person to decide."""
        path = self.root / "watermark.json"
        return _read(path, Mark) or Mark()

    def set_mark(self, mark: Mark) -> None:
        write_durably(self.root / "watermark.json", mark.model_dump_json(indent=1))

    def rows(self, no: int) -> WindowRows | None:
        return _read(self.window(no) / ROWS, WindowRows)

    def verdict(self, no: int) -> WindowVerdict | None:
        """None for a window that isn't there, or is not finished, or was written by another version of VisionOps."""
        try:
            return _read(self.window(no) / VERDICT, WindowVerdict)
        except MachineError:
            return None

    def begin(self, no: int, rows: WindowRows) -> Path:
        """An empty folder that knows which rows it is about."""
        folder = self.window(no)
        shutil.rmtree(folder, ignore_errors=True)
        write_durably(folder / ROWS, rows.model_dump_json(indent=1))
        return folder

    def write_verdict(self, verdict: WindowVerdict) -> None:
        write_durably(self.window(verdict.no) / VERDICT, verdict.model_dump_json(indent=1))

    def score(self, no: int) -> WindowScore | None:
        try:
            return _read(self.window(no) / SCORE, WindowScore)
        except MachineError:
            return None

    def write_score(self, score: WindowScore) -> None:
        write_durably(self.window(score.no) / SCORE, score.model_dump_json(indent=1))

    def scores(self, count: int) -> list[WindowScore]:
        """Those with labels enough among the last `count` windows, the latest first."""
        last = self.mark().window
        found = (self.score(no) for no in range(last, max(0, last - count), -1))
        return [score for score in found if score is not None and score.scored is not None]

    def status(self) -> dict[str, Any]:
        try:
            return json.loads((self.root / "status.json").read_text())
        except (FileNotFoundError, ValueError):
            return {}

    def write_status(self, values: dict[str, Any]) -> None:
        """`values`: as `status_of` gives them; `at` is when the monitor last ran. With them stands the latest score."""
        scores = self.scores(SCORED_WINDOWS)
        scored = {"estimate_error": scores[0].scored.score.error, "scored_window": scores[0].no} if scores else {}
        write_durably(self.root / "status.json", json.dumps(values | scored, indent=1))

    def drop_pages(self, kept: int) -> None:
        """Pages and pictures of all but the last `kept` windows go; their verdicts and rows stay."""
        for no in range(self.mark().window - kept, 0, -1):
            left = [path for path in self.window(no).glob("*") if path.name not in (VERDICT, ROWS, SCORE)]
            if not left:
                return
            for path in left:
                path.unlink()

    def latest(self, before: int, count: int) -> list[WindowVerdict]:
        """Verdicts of up to `count` windows before number `before`, the latest first."""
        found = (self.verdict(no) for no in range(before - 1, max(0, before - 1 - count), -1))
        return [verdict for verdict in found if verdict is not None]


def status_of(verdict: WindowVerdict) -> dict[str, Any]:
    """The flat summary that /metrics shows."""
    return {
        "at": verdict.at.isoformat(timespec="seconds"),
        "window_no": verdict.no,
        "window_records": verdict.records,
        "drifted": int(verdict.drift.drifted),
        "alarm": int(verdict.alarm),
        "drift_p_value": verdict.drift.p_value,
        "drifted_columns": len(verdict.drift.drifted_columns),
        "mean_confidence": verdict.mean_confidence,
        "reference_mean_confidence": verdict.reference_mean_confidence,
        "low_confidence_share": verdict.low_confidence_share,
        "estimated_accuracy": _value(verdict.diagnosis.estimate),
        "labelled_accuracy": _value(verdict.diagnosis.labelled),
        "false_alarm_rate": verdict.false_alarms.rate if verdict.false_alarms else None,
        "cause": verdict.diagnosis.cause,
    }


def _value(estimate: Estimate | None) -> float | None:
    return estimate.value if estimate else None


def window_name(no: int, package_sha: str, ids: Iterable[str]) -> str:
    """As a training knows it: two windows have one name where they are the same records, also once the watermark was removed.

    Not a bare number: Prefect's templates would hand that on as one.
    """
    ids = sorted(ids)
    return f"window-{no}-{sha256_json([package_sha, len(ids), ids[0], ids[-1]])[:12]}"


def write_durably(path: Path, text: str) -> None:
    """Beside, synced, renamed: after a power cut the file is the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with partial.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _read(path: Path, kind: type[Section]) -> Any:
    try:
        return kind.model_validate_json(path.read_text())
    except FileNotFoundError:
        return None
    except (ValidationError, UnicodeDecodeError):
        raise MachineError(
            f"{path} can't be read as what the monitor writes",
            "the file as it was written",
            "restore it, or remove it: then all records that are kept are judged again",
        ) from None
