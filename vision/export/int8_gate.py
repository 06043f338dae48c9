"""May a server use the INT8 graph? Held to the float one: the recall of every class, and outputs on some images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vision.evaluation.config import EvaluationConfig
from vision.export.config import ExportConfig
from vision.export.golden import TOLERANCES, Run
from vision.export.int8 import worst_drop
from vision.export.parity import check_parity
from vision.package import Spec

PARITY_IMAGES = 64
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

    drop = worst_drop(*(_per_class(run, held, spec) for run in (exported, quantised)))
    relation = "at most" if drop <= config.int8_max_drop else "more than"
    reason = f"the worst class loses {drop:.3f} of its recall, {relation} the {config.int8_max_drop} allowed"
    images = held.images[-1][:PARITY_IMAGES]
    parity = check_parity(exported, quantised, images, answering(spec.kind), TOLERANCES["int8"])
    return {
        "passed": drop <= config.int8_max_drop and parity.passed,
        "drop": drop,
        "reasons": [reason, *parity.reasons],
    }


def _per_class(run: Run, held: HeldBack, spec: Spec) -> pd.DataFrame:
    from vision.kinds import learning

    found = [_outputs(run, images) for images in held.images]
    outputs = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    config = EvaluationConfig(bootstrap_samples=SAMPLES)
    return learning(spec.kind).evaluate(outputs, held.rows, spec, config).per_class


def _outputs(run: Run, images: Any) -> dict[str, np.ndarray]:
    batches = [run(images[start : start + BATCH_IMAGES]) for start in range(0, len(images), BATCH_IMAGES)]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
