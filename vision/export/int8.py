"""INT8 by static quantisation (ONNX Runtime, QDQ), and what it costs each class.

Weights get a scale a channel, activations one a tensor, from the least and greatest value over the calibration images
(Jacob et al. 2018, arXiv 1712.05877). Layers that are not named stay in float.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from vision.export.onnx import INPUT

LAYERS = ("Conv", "Gemm", "MatMul", "Add")
BATCH_IMAGES = 8


def quantise(model: Path, images: np.ndarray, out: Path) -> None:
    """Writes the quantised `model` to `out`. images: uint8 [N, S, S, 3], as the model takes them, of the training split."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Batches(CalibrationDataReader):
        def __init__(self) -> None:
            self._left: Iterator[np.ndarray] = iter(
                images[start : start + BATCH_IMAGES] for start in range(0, len(images), BATCH_IMAGES)
            )

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self._left, None)
            return None if batch is None else {INPUT: batch}

    prepared = out.with_name(f"{out.stem}.prepared.onnx")
    logger = logging.getLogger()
    before = logger.level
    logger.setLevel(logging.ERROR)  # it advises, by the root logger, what was done in the line before
    try:
        quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(out),
            Batches(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=list(LAYERS),
        )
    finally:
        logger.setLevel(before)
        prepared.unlink(missing_ok=True)


def worst_drop(before: pd.DataFrame, after: pd.DataFrame) -> float:
    """The largest fall of recall of any class; negative when every class gained.

    before, after: `Evaluation.per_class` of the same images. A class without images counts for nothing.
    """
    joined = before.merge(after, on="label", suffixes=("_before", "_after"))
    return float((joined["recall_before"] - joined["recall_after"]).max(skipna=True))
