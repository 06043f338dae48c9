"""May a server use the INT8 graph? Held to the float one: the recall of every class, outputs, and what drift makes of it.

The embedding has two tolerances of its own. Single numbers: see `vision.kinds.embeddings`. Their mean, over all held-back
images and in the measure of the drift test (whitened, as Hotelling's T2 is): drift compares what is served with what the
float graph said of the test images, so a shift that INT8 brings would be taken for drift. A shift of SHIFT standard
deviations is seen in a window of 200 records (the default `monitor.min_window`) in about three of a hundred, of 500 in
twelve.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vision.evaluation.config import EvaluationConfig
from vision.export.class_loss import judge_losses, losses
from vision.export.config import ExportConfig
from vision.export.golden import TOLERANCES, Run
from vision.export.parity import check_parity
from vision.package import Spec

PARITY_IMAGES = 64
SHIFT = 0.3
IMAGES_A_DIRECTION = 5
"""Fewer do not tell how much an embedding varies in each of its directions."""
NEGLIGIBLE = 1e-3
"""Directions that vary less than this share of the widest are rounding; drift leaves them out too."""
SAMPLES = 100
"""The intervals that an evaluation brings are not looked at here."""
BATCH_IMAGES = 32


@dataclass(frozen=True)
class HeldBack:
    """Images that no weight has seen. images: parts, each uint8 [n, S, S, 3]; rows: of all, in that order, as
    `Learning.evaluate` takes them."""

    images: Sequence[Any]
    rows: pd.DataFrame


def judge_int8(exported: Run, quantised: Run, held: HeldBack, spec: Spec, config: ExportConfig) -> dict[str, Any]:
    """passed, drop (the worst class's loss of recall, a share) and reasons. Outputs are compared on the last part."""
    from vision.kinds import answering

    before, after = (_outputs(run, held.images) for run in (exported, quantised))
    loss = judge_losses(losses(*(_rows(found, held, spec) for found in (before, after))), config.int8_max_drop)
    images = held.images[-1][:PARITY_IMAGES]
    parity = check_parity(exported, quantised, images, answering(spec.kind), TOLERANCES["int8"])
    calm, shift = judge_shift(before["embedding"], after["embedding"])
    return {
        "passed": loss.passed and parity.passed and calm,
        "drop": loss.drop,
        "reasons": [loss.reason, *parity.reasons, shift],
    }


def judge_shift(before: np.ndarray, after: np.ndarray) -> tuple[bool, str]:
    """Is the mean of embeddings [N, D] where drift will not see it? And why."""
    needed = IMAGES_A_DIRECTION * before.shape[1]
    if len(before) < needed:
        return True, f"what drift makes of its embedding is not judged: {len(before)} images, {needed} are needed"
    shift = whitened_shift(before, after)
    relation = "at most" if shift <= SHIFT else "more than"
    return shift <= SHIFT, f"its embedding moves by {shift:.2g} standard deviations, {relation} the {SHIFT:g} allowed"


def whitened_shift(before: np.ndarray, after: np.ndarray) -> float:
    """Mahalanobis distance of the two means, by the covariance of `before`; of embeddings [N, D] of the same images.

    What the differences between N images add to its square by chance is taken off.
    """
    centred = before.astype(np.float64) - before.mean(axis=0)
    _, lengths, directions = np.linalg.svd(centred, full_matrices=False)
    kept = lengths > lengths[0] * NEGLIGIBLE
    moved = (after.astype(np.float64) - before) @ (directions[kept] / lengths[kept, None]).T * np.sqrt(len(before))
    squared = (moved.mean(axis=0) ** 2).sum() - (moved.var(axis=0, ddof=1) / len(before)).sum()
    return float(np.sqrt(max(0.0, squared)))


def _rows(outputs: Mapping[str, np.ndarray], held: HeldBack, spec: Spec) -> pd.DataFrame:
    from vision.kinds import learning

    return learning(spec.kind).evaluate(outputs, held.rows, spec, EvaluationConfig(bootstrap_samples=SAMPLES)).rows


def _outputs(run: Run, images: Sequence[Any]) -> dict[str, np.ndarray]:
    found = [run(part[start : start + BATCH_IMAGES]) for part in images for start in range(0, len(part), BATCH_IMAGES)]
    return {name: np.concatenate([np.asarray(one[name]) for one in found]) for name in found[0]}
