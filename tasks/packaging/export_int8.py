"""The INT8 graph beside the float one, and its own small gate: golden images and the recall of every class."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks.run import Run
from tasks.stages import write_json
from tasks.training.trained import Trained
from vision.package import INT8_MODEL, Spec

SEED = 0
HELD_BACK = ("val", "test")
MADE = "int8.json"


def read_spec(trained: Trained) -> Spec:
    return Spec.model_validate_json((trained.evaluation.folder / "spec.json").read_text())


def export_int8(run: Run, trained: Trained, files: dict[str, Path], exported: Callable) -> dict[str, Any]:
    """Quantises and judges; `files` gets the INT8 graph when it passed. A run that was killed after it goes on with it.

    Returns passed, drop (the worst class's loss of recall, a share; None when INT8 is off) and reasons.
    """
    folder = files["model.onnx"].parent
    kept, graph = folder / MADE, folder / INT8_MODEL
    if not kept.is_file():
        write_json(kept, _made(run, trained, files["model.onnx"], graph, exported))
    made = json.loads(kept.read_text())
    if made["passed"]:
        files[INT8_MODEL] = graph
    return made


def _made(run: Run, trained: Trained, model: Path, graph: Path, exported: Callable) -> dict[str, Any]:
    from vision.evaluation.latency import size_mib
    from vision.export.int8 import quantise
    from vision.export.int8_gate import HeldBack, judge_int8
    from vision.export.runtime import onnx_run
    from vision.kinds import answering

    config = run.config.export
    if not config.int8:
        return {"passed": False, "drop": None, "reasons": ["export.int8 is off"]}
    train = trained.crops("train")
    chosen = np.random.default_rng(SEED).permutation(len(train))[: config.calibration_images]
    quantise(model, train[np.sort(chosen)], graph, answering(run.config.kind).quantised)
    # Both: one split alone has too few of a class to see one point.
    rows = pd.concat([trained.rows(split) for split in HELD_BACK], ignore_index=True)
    held = HeldBack([trained.crops(split) for split in HELD_BACK], rows)
    judged = judge_int8(exported, onnx_run(graph), held, read_spec(trained), config)
    return {**judged, "size_mib": size_mib(graph)}
