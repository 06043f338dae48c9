"""The stage store: what was made, by what it was made from. A stage that is there is not run again.

One folder a result, `stages/<stage>/<key>/`, with `stage.json` written last: a killed stage leaves none. The key covers
the config section, the hashes of the inputs and the source that the stage imports, so there is no other cache to agree
with; a Prefect task that finds its stage ends in a state named Reused.
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import BaseModel

from vision.lineage import git_state, sha256_json, source_sha
from vision.machine_faults import clear_faults
from vision.settings import Section

DONE = "stage.json"
HERE = "{stage}"
"""Stands in stage.json for the stage's own folder."""


class StageResult(Section):
    """A finished stage. `made`: the small values that later stages and reports read; files lie in `folder`."""

    stage: str
    key: str
    folder: Path
    made: dict[str, Any]
    seconds: float
    reused: bool


class StagePlan(Section):
    """What decides a stage's key. `roots`: the modules whose source, with all they import, makes the result."""

    stage: str
    section: Any = None
    inputs: dict[str, Any] = {}
    roots: tuple[str, ...]
    resumable: bool = False
    """Keeps what a killed run left in the folder, for work that goes on from it; else the folder is emptied first."""

    @property
    def key(self) -> str:
        section = self.section.model_dump(mode="json") if isinstance(self.section, BaseModel) else self.section
        parts = {"stage": self.stage, "section": section, "inputs": self.inputs, "source": source_sha(self.roots)}
        return sha256_json(parts)


def run_stage(
    stages: Path,
    plan: StagePlan,
    work: Callable[[Path], Mapping[str, Any]],
    whole: Callable[[dict[str, Any]], bool] = lambda made: True,
) -> StageResult:
    """Returns the stored result of `plan`, or runs `work(folder)` and stores what it returns.

    whole: is what a stored result made outside its folder still there? If not, the stage runs again.
    Two processes that ask for one stage at once run it once: the second waits and reuses.
    """
    key = plan.key
    folder = stages / plan.stage / key
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if (folder / DONE).is_file() and whole((stored := _read(folder)).made):
            return stored
        (folder / DONE).unlink(missing_ok=True)  # first: a kill while the rest goes must not leave a result
        if not plan.resumable:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        with clear_faults(folder):
            started = time.monotonic()
            made = dict(work(folder))
            _finish(folder, plan, key, made, time.monotonic() - started)
        return _read(folder).model_copy(update={"reused": False})


def _finish(folder: Path, plan: StagePlan, key: str, made: dict[str, Any], seconds: float) -> None:
    record = {
        "stage": plan.stage,
        "key": key,
        "inputs": plan.inputs,
        "made": _swapped(made, str(folder), HERE),
        "seconds": round(seconds, 3),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "git": git_state(),
    }
    write_json(folder / DONE, record)


def _read(folder: Path) -> StageResult:
    record = json.loads((folder / DONE).read_text())
    return StageResult(
        stage=record["stage"], key=record["key"], folder=folder, made=_swapped(record["made"], HERE, str(folder)),
        seconds=record["seconds"], reused=True,
    )  # fmt: skip


def _swapped(value: Any, old: str, new: str) -> Any:
    """`value` with each path that begins with `old` beginning with `new`: a state folder may be moved."""
    if isinstance(value, Mapping):
        return {key: _swapped(item, old, new) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_swapped(item, old, new) for item in value]
    text = str(value) if isinstance(value, str | Path) else ""
    return new + text.removeprefix(old) if text == old or text.startswith(f"{old}/") else value


def write_json(path: Path, value: Any) -> None:
    """Writes beside and renames, so that a reader never sees half a file."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(value, indent=1, default=_plain))
    partial.replace(path)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"not JSON: {type(value).__name__}")
