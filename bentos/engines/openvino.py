"""OpenVINO on the CPU: twice ONNX Runtime's speed where the processor computes in bfloat16 (STACK: ResNet-18 60 to 29)."""

from collections.abc import Mapping

import numpy as np

from bentos.engine import model_file
from vision.export.runtime_openvino import openvino_run
from vision.package import Package


class OpenVinoEngine:
    name = "openvino"

    def __init__(self, package: Package, precision: str = "auto", threads: int = 0) -> None:
        """`auto`: bfloat16 where the processor has it in hardware, else float32. threads: 0 for all.

        Raises `UserError` for bfloat16 on a processor that would only imitate it.
        """
        path = package.folder / model_file(package, precision)
        self.package = package
        self._run, self.precision = openvino_run(path, precision, threads)

    def predict(self, images: np.ndarray) -> Mapping[str, np.ndarray]:
        return self._run(images)
