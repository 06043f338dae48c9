"""`train_model` killed at exact points, one after the other, and started again after each; then let through.

    python tests/faults/killed_flow.py SYSTEM.yaml LOG POINT...

Each start is a fork of this process, which has imported everything: a start costs a second, not ten, and what is killed
is a whole process of its own. The kill is SIGKILL of itself, set by replacing one function of the child. Prints one JSON
line a start: {point, ended, seconds, epochs}; `ended` is the signal's name or the exit code.
"""

import importlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STAGES = (
    "ingest", "describe", "split", "validate", "explore", "cache", "train", "evaluate", "analyse", "export", "gate", "register",
    "build", "smoke", "assign_alias", "publish",
)  # fmt: skip
PRELOADED = (
    "flows.train_model", "tasks.cluster.train", "tasks.cluster.data", "tasks.packaging.build_bento", "tasks.packaging.smoke",
    "dvc.repo", "mlflow", "ray.data", "ray.train.torch", "torch", "onnxruntime",
    "torch.onnx", "great_expectations", "vision.evaluation.plots",
)  # fmt: skip


@dataclass(frozen=True)
class Point:
    """Where the flow dies: at `target` (module:attribute), before or after its call, or `later_s` into it.

    when: which of the calls, by its arguments.
    """

    target: str
    after: bool = False
    when: Callable[..., bool] = lambda *args: True
    later_s: float | None = None


def _stage(name: str) -> Callable[..., bool]:
    return lambda folder, plan, *rest: plan.stage == name


INSIDE = {
    "ingest: drawn, not yet in place": Point("vision.data.sources:sync_files"),
    "ingest: in DVC, not in git": Point("tasks.data.datasets:git", when=lambda repo, *words: words[0] == "add"),
    "ingest: in git's index, not committed": Point(
        "tasks.data.datasets:git", when=lambda repo, *words: words[0] == "commit"
    ),
    "describe: parts, no table": Point("tasks.cluster.data:join_manifests"),
    "split: files, no record": Point("tasks.stages:_finish", when=_stage("split")),
    "validate: files, no record": Point("tasks.stages:_finish", when=_stage("validate")),
    "explore: files, no record": Point("tasks.stages:_finish", when=_stage("explore")),
    "cache: made, not filled": Point("tasks.cluster.data:_map", when=lambda work, *rest: "fill" in str(work)),
    "train: start written, not trained": Point("tasks.cluster.train:_trainer"),
    "train: in mid-epoch": Point(
        "tasks.training.record:Recording.__call__", after=True, when=lambda own, record: record["epoch"] == 2
    ),
    "train: weights, no report": Point("tasks.cluster.train:save_model", after=True),
    "train: report, no record": Point("tasks.cluster.train:_clear"),
    "evaluate: record half-written": Point(
        "pathlib:Path.replace", when=lambda partial, *rest: partial.match("evaluate/*/.stage.json.partial")
    ),
    "export: sealed, not in place": Point("vision.export.assemble:_publish"),
    "export: package in place, no record": Point("tasks.packaging.export:_assemble", after=True),
    "gate: judged, no record": Point("tasks.stages:_finish", when=_stage("gate")),
    "register: files logged, no model": Point("tasks.packaging.register:register_version"),
    "register: model, no version": Point("mlflow:MlflowClient.create_model_version"),
    "register: version, run not named": Point("mlflow:MlflowClient.create_model_version", after=True),
    "build: in BentoML's build": Point("tasks.packaging.build_bento:_bentoml", later_s=1.0),
    "build: built, not in the store": Point("tasks.packaging.build_bento:_publish"),
    "build: in the store, no record": Point("tasks.packaging.build_bento:_publish", after=True),
    "smoke: server up": Point("tasks.packaging.smoke:smoke"),
    "assign_alias: audit row, no alias": Point("tasks.releasing.change:add_release", after=True),
    "assign_alias: alias, no release": Point("tasks.releasing.change:write_release"),
    "assign_alias: release written": Point("tasks.releasing.change:write_release", after=True),
    "publish: page, run not closed": Point("tasks.evaluation.report:_publish", after=True),
}


def between() -> list[str]:
    """Before each stage, as the flow comes by, and after the last."""
    return [*(f"before {stage}" for stage in STAGES), f"after {STAGES[-1]}"]


def point_named(name: str) -> Point:
    if name in INSIDE:
        return INSIDE[name]
    moment, stage = name.split(" ")
    return Point(f"flows.train_model:{stage}", after=moment == "after")


def arm(point: Point) -> None:
    """Puts the killing function in the place of `point.target`."""
    module, _, path = point.target.partition(":")
    *outer, name = path.split(".")
    place: Any = importlib.import_module(module)
    for part in outer:
        place = getattr(place, part)
    real = getattr(place, name)

    def deadly(*args: Any, **kwargs: Any) -> Any:
        here = point.when(*args)
        if here and point.later_s is not None:
            threading.Timer(point.later_s, die).start()
        elif here and not point.after:
            die()
        result = real(*args, **kwargs)
        if here:
            die()
        return result

    setattr(place, name, deadly)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def start(system: str, point: str | None, log: Path) -> dict[str, Any]:
    """One start of the flow in a fork. Returns {point, ended, seconds, epochs}."""
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = _run(system, point, log)
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    ended = signal.Signals(-code).name if code < 0 else code
    return {"point": point, "ended": ended, "seconds": round(time.monotonic() - began, 1), "epochs": _epochs()}


def _epochs() -> list[float]:
    """How long each epoch took of a training that is not finished."""
    records = [
        json.loads(line)
        for path in Path(os.environ["VISIONOPS_STATE"]).glob("systems/*/stages/train/*/history.ndjson")
        for line in path.read_text().splitlines()
    ]
    return [record["seconds"] for record in records]


def _run(system: str, point: str | None, log: Path) -> int:
    with log.open("ab", buffering=0) as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    print(f"---- {point or 'let through'}", flush=True)
    from flows.command import main
    from flows.train_model import train_model

    sys.modules["tasks.training.watch"].POLL_S = 0.05
    if point:
        arm(point_named(point))
    return main(train_model, argv=["--system", system, "--verbose"])


def chain(system: str, log: Path, points: list[str]) -> None:
    for name in PRELOADED:
        importlib.import_module(name)
    assert threading.active_count() == 1, "a fork with threads is not safe"
    for point in [*points, None]:
        print(json.dumps(start(system, point, log)), flush=True)


if __name__ == "__main__":
    chain(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
