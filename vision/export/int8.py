"""INT8 by static quantisation (ONNX Runtime, QDQ).

Weights get a scale a channel, activations one a tensor, from the least and greatest value over the calibration images
(Jacob et al. 2018, arXiv 1712.05877). Layers that are not named stay in float. What eight bits do to the mean of the
embedding is taken back by a constant (bias correction, Nagel et al. 2019, arXiv 1906.04721): the drift test goes by means,
also in directions where an embedding hardly varies.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from vision.export.onnx import INPUT

BATCH_IMAGES = 8
EMBEDDING, RAW, LACKS = "embedding", "embedding.eight_bits", "embedding.lacks"


def quantise(model: Path, images: np.ndarray, out: Path, layers: Sequence[str]) -> None:
    """Writes the quantised `model` to `out`. layers: operators to take, `Answering.quantised`. images: uint8 [N, S, S, 3],
    as the model takes them, of the training split.
    """
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
            op_types_to_quantize=list(layers),
        )
    finally:
        logger.setLevel(before)
        prepared.unlink(missing_ok=True)
    _keep_mean(model, out, images)


def _keep_mean(model: Path, quantised: Path, images: np.ndarray) -> None:
    """Adds to the quantised graph's embedding what its mean over the images lacks."""
    import onnx
    from onnx import helper, numpy_helper

    lacks = _mean(model, images) - _mean(quantised, images)
    graph = onnx.load(quantised)
    for node in graph.graph.node:
        for place in [place for place, name in enumerate(node.output) if name == EMBEDDING]:
            node.output[place] = RAW
        for place in [place for place, name in enumerate(node.input) if name == EMBEDDING]:
            node.input[place] = RAW
    graph.graph.initializer.append(numpy_helper.from_array(lacks.astype(np.float32), LACKS))
    graph.graph.node.append(helper.make_node("Add", [RAW, LACKS], [EMBEDDING], name=LACKS))
    onnx.checker.check_model(graph)
    onnx.save(graph, quantised)


def _mean(model: Path, images: np.ndarray) -> np.ndarray:
    from vision.export.runtime import onnx_run

    run, starts = onnx_run(model), range(0, len(images), BATCH_IMAGES)
    return sum(
        run(images[start : start + BATCH_IMAGES])[EMBEDDING].sum(axis=0, dtype=np.float64) for start in starts
    ) / len(images)
