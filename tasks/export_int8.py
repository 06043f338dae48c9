"""The INT8 graph beside the float one, and its own small gate: golden images and the recall of every class."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks.run import Run
from tasks.stages import write_json
from tasks.trained import Trained
from vision.package import INT8_MODEL, Spec

SEED = 0
PARITY_IMAGES = 64
SAMPLES = 100
"""The intervals that an evaluation brings are not looked at here."""
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
    from vision.export.golden import TOLERANCES
    from vision.export.int8 import quantise, worst_drop
    from vision.export.parity import check_parity
    from vision.export.runtime import onnx_run
    from vision.kinds import answering

    config = run.config.export
    if not config.int8:
        return {"passed": False, "drop": None, "reasons": ["export.int8 is off"]}
    train = trained.crops("train")
    chosen = np.random.default_rng(SEED).permutation(len(train))[: config.calibration_images]
    quantise(model, train[np.sort(chosen)], graph)
    quantised = onnx_run(graph)
    drop = worst_drop(*(_per_class(run, trained, outputs) for outputs in (exported, quantised)))
    relation = "at most" if drop <= config.int8_max_drop else "more than"
    reason = f"the worst class loses {drop:.3f} of its recall, {relation} the {config.int8_max_drop} allowed"
    images = trained.crops("test")[:PARITY_IMAGES]
    parity = check_parity(exported, quantised, images, answering(run.config.kind), TOLERANCES["int8"])
    passed = drop <= config.int8_max_drop and parity.passed
    return {"passed": passed, "drop": drop, "reasons": [reason, *parity.reasons], "size_mib": size_mib(graph)}


def _per_class(run: Run, trained: Trained, graph: Callable) -> pd.DataFrame:
    """Recall of each class over all held-back images: one split alone has too few of a class to see one point."""
    from vision.kinds import learning

    rows = pd.concat([trained.rows(split) for split in ("val", "test")], ignore_index=True)
    found = [_outputs(graph, trained.crops(split)) for split in ("val", "test")]
    outputs = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    config = run.config.evaluation.model_copy(update={"bootstrap_samples": SAMPLES})
    return learning(run.config.kind).evaluate(outputs, rows, read_spec(trained), config).per_class


def _outputs(graph: Callable, images: Any) -> dict[str, np.ndarray]:
    batches = [graph(images[start : start + 32]) for start in range(0, len(images), 32)]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
