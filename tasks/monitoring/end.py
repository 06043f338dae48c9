"""How a run of the monitor ends: what it prints, and the name of its state."""

from datetime import UTC, datetime
from typing import Any

from prefect.client.schemas.objects import State

from tasks.monitoring.state import MonitorFolder
from tasks.monitoring.training_requests import Request
from tasks.monitoring.windows import Window
from tasks.run import Run

WAITING, QUIET, CHANGED, ALARM = "Waiting", "Quiet", "Changed", "Alarm"


def waiting(run: Run, window: Window) -> dict[str, Any]:
    """The watermark stays: the same records count for the next run. The status says that the monitor lives."""
    folder = MonitorFolder(run)
    folder.write_status({**_still_holds(folder, window), "at": datetime.now(UTC).isoformat(timespec="seconds")})
    return {"state": WAITING, "text": f"{run.config.title}: waiting: {window.said}"}


def _still_holds(folder: MonitorFolder, window: Window) -> dict[str, Any]:
    """What the last window left, as long as its model is the champion: of another its alarm and its reference say nothing."""
    last = folder.verdict(folder.mark().window)
    same = last and window.release and last.package_sha == window.release.champion.package_sha
    return folder.status() if same else {}


def ended(outcome: dict[str, Any], *more: str) -> dict[str, Any]:
    lines = [outcome["text"], *(f"  also      {line}" for line in more if line)]
    return {**outcome, "text": "\n".join(lines)}


def trained(outcome: dict[str, Any], request: Request, state: State) -> dict[str, Any]:
    """The training's own words below. Raises what the training raised: its fault is this run's."""
    failed = state.name == "ContractFailed"
    said = f"the data contract failed\n{state.message}" if failed else state.result(raise_on_failure=True)["text"]
    head = f"training {request.no} ({request.reason}): {state.name}"
    return {**outcome, "text": "\n".join([outcome["text"], head, said])}
