"""Engines: a batch of uint8 images in, a model's outputs out. Plain classes behind one Protocol, without a server."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from vision.errors import UserError
from vision.export.golden import check_golden
from vision.export.runtime import onnx_run
from vision.package import Package

WARM_UP_BATCHES = (1, 2)
"""Batch sizes run once before the first request: the runtime plans memory for each."""


class Engine(Protocol):
    package: Package

    def predict(self, images: np.ndarray) -> Mapping[str, np.ndarray]:
        """images uint8 [N, S, S, 3] -> outputs by name, each [N, ...]. May be called from several threads at once."""


class OnnxEngine:
    """ONNX Runtime on the CPU: the portable engine."""

    def __init__(self, package: Package, threads: int = 0) -> None:
        self.package = package
        self._run = onnx_run(package.folder / "model.onnx", threads)

    def predict(self, images: np.ndarray) -> Mapping[str, np.ndarray]:
        return self._run(images)


def ready_engine(package: Package, threads: int = 0) -> Engine:
    """An engine that is warm and has proved itself on the package's golden images.

    Raises `UserError` when it does not answer as the package says.
    """
    engine = OnnxEngine(package, threads)
    side_px = package.spec.input.side_px
    for batch in WARM_UP_BATCHES:
        engine.predict(np.zeros((batch, side_px, side_px, 3), np.uint8))
    verdict = check_golden(package.folder, package.spec, engine.predict)
    if not verdict.passed:
        raise UserError(
            f"package {package.package_sha[:12]} fails its golden images here: {'; '.join(verdict.reasons)}",
            "an engine that answers as the package's golden outputs do",
            "check that Pillow and onnxruntime are the locked versions, or serve an earlier package",
        )
    return engine
