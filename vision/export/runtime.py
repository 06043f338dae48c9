"""`model.onnx` as a function of images: ONNX Runtime, as export checks, evaluation and servers all call it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime

from vision.export.golden import Run

if TYPE_CHECKING:
    from vision.models.network import ServedModel


def onnx_run(path: Path, threads: int = 0) -> Run:
    """Loads the graph at `path` on the CPU. `threads`: of one call; 0 leaves it to ONNX Runtime (all cores).

    The function returned may be called from several threads at once.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0].name
    names = [output.name for output in session.get_outputs()]

    def run(images: np.ndarray) -> Mapping[str, np.ndarray]:
        return dict(zip(names, session.run(names, {source: images}), strict=True))

    return run


def torch_run(model: "ServedModel") -> Run:
    """The trained network itself as such a function: float32, eval mode, on the device where it is."""
    import torch

    def run(images: np.ndarray) -> Mapping[str, np.ndarray]:
        with torch.inference_mode():
            found = model.eval()(torch.from_numpy(np.ascontiguousarray(images)).to(model.projection.device))
        return {name: value.float().cpu().numpy() for name, value in zip(model.outputs, found, strict=True)}

    return run
