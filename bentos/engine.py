"""Engines: a batch of uint8 images in, a model's outputs out. Plain classes behind one Protocol, without a server."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from bentos.resources import engine_name, thread_count
from configs.serving import ServingConfig
from vision.errors import UserError
from vision.export.golden import TOLERANCES, check_golden
from vision.package import INT8_MODEL, Package, precision_for


class Engine(Protocol):
    """`precision`: float32, bfloat16 or int8, the one that it really computes in."""

    package: Package
    name: str
    precision: str

    def predict(self, images: np.ndarray) -> Mapping[str, np.ndarray]:
        """images uint8 [N, S, S, 3] -> outputs by name, float32 [N, ...]. May be called from several threads at once."""


def ready_engine(package: Package, serving: ServingConfig | None = None) -> Engine:
    """An engine that is warm and has proved itself on the package's golden images.

    Raises `UserError` when the settings don't fit this machine or package, or the engine doesn't answer as the package
    says.
    """
    serving = serving or ServingConfig()
    engine = make_engine(package, serving)
    warm_up(engine, serving.max_batch)
    verdict = check_golden(package.folder, package.spec, engine.predict, TOLERANCES[engine.precision])
    if not verdict.passed:
        raise UserError(
            f"package {package.package_sha[:12]} fails its golden images here"
            f" ({engine.name}, {engine.precision}): {'; '.join(verdict.reasons)}",
            "an engine that answers as the package's golden outputs do",
            "check that Pillow and the engine are the locked versions, set serving.precision: float32,"
            " or serve an earlier package",
        )
    return engine


def make_engine(package: Package, serving: ServingConfig) -> Engine:
    """Cold, and not yet checked. The engine's libraries load here and not before."""
    name, threads = engine_name(serving), thread_count(serving)
    precision = precision_for(package, serving.precision)
    if name == "torch":
        from bentos.engines.torch import TorchEngine

        return TorchEngine(package, precision, serving.max_batch, threads)
    if name == "openvino":
        from bentos.engines.openvino import OpenVinoEngine

        return OpenVinoEngine(package, precision, threads)
    from bentos.engines.onnxruntime import OnnxRuntimeEngine

    return OnnxRuntimeEngine(package, precision, threads)


def warm_up(engine: Engine, max_batch: int) -> None:
    """Runs every batch size that the batcher can form, largest first.

    OpenVINO plans memory and kernels for each size when it first meets it: 15 ms (MobileNetV3-Small) to 70 ms
    (ResNet-18) more than the second time, which a request should not pay.
    """
    side_px = engine.package.spec.input.side_px
    images = np.zeros((max_batch, side_px, side_px, 3), np.uint8)
    for batch in range(max_batch, 0, -1):
        engine.predict(images[:batch])


def model_file(package: Package, precision: str) -> str:
    return INT8_MODEL if precision == "int8" else "model.onnx"
