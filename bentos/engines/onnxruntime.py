"""ONNX Runtime on the CPU: the portable engine."""

from collections.abc import Mapping

import numpy as np

from bentos.engine import model_file
from vision.errors import UserError
from vision.export.runtime import onnx_run
from vision.package import Package


class OnnxRuntimeEngine:
    name = "onnxruntime"

    def __init__(self, package: Package, precision: str = "auto", threads: int = 0) -> None:
        """`auto` is float32. Raises `UserError` for bfloat16."""
        if precision == "bfloat16":
            raise UserError(
                "serving.precision = bfloat16 with the onnxruntime engine", "auto, float32 or int8", "use openvino"
            )
        self.package = package
        self.precision = "int8" if precision == "int8" else "float32"
        self._run = onnx_run(package.folder / model_file(package, self.precision), threads)

    def predict(self, images: np.ndarray) -> Mapping[str, np.ndarray]:
        return self._run(images)
