"""A sealed package on any rows of any data: from file bytes to answer by the path that a server takes, without torch."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from vision.errors import UserError
from vision.evaluation.config import EvaluationConfig
from vision.export.runtime import onnx_run
from vision.kinds import answering, learning
from vision.kinds.base import Evaluation
from vision.package import Package
from vision.preprocess import preprocess

BATCH_IMAGES = 32


@dataclass(frozen=True)
class Scored:
    """images: uint8 [n, S, S, 3], on disk. outputs: name -> float [n, ...]."""

    evaluation: Evaluation
    outputs: dict[str, np.ndarray]
    images: np.ndarray


def evaluate_package(
    package: Package,
    root: Path,
    rows: pd.DataFrame,
    config: EvaluationConfig,
    scratch: Path,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Scored:
    """Evaluation on those of `rows` (columns of the splits table) whose label the package knows.

    Preprocessed images go to `scratch/images.npy`, not into memory. Raises `ImageError` for an undecodable file,
    `UserError` when no row has a label that the package knows.
    """
    words = answering(package.spec.kind).vocabulary(package.spec.labels)
    known = rows[rows["label"].isin(words)].reset_index(drop=True)
    if known.empty:
        raise UserError(
            f"none of {len(rows)} images has a label that the package knows ({', '.join(sorted(set(rows['label'])))})",
            f"images of {', '.join(words)}",
            "evaluate on data of the package's classes; a system with other classes needs another name",
        )
    run, side = onnx_run(package.folder / "model.onnx"), package.spec.input.side_px
    images = np.lib.format.open_memmap(scratch / "images.npy", "w+", np.uint8, (len(known), side, side, 3))
    batches = []
    for start in range(0, len(known), BATCH_IMAGES):
        names = known["path"].iloc[start : start + BATCH_IMAGES]
        inputs = np.stack([preprocess((root / name).read_bytes(), package.spec.input, math.inf) for name in names])
        images[start : start + len(inputs)] = inputs
        batches.append(run(inputs))
        on_progress(start + len(inputs), len(known))
    names = answering(package.spec.kind).outputs
    outputs = {name: np.concatenate([batch[name] for batch in batches]) for name in names}
    evaluation = learning(package.spec.kind).evaluate(outputs, known, package.spec, config)
    return Scored(evaluation, outputs, images)
