"""LitServe with our engine, decoding and preprocessing. A module of its own: LitServe pickles the class for its workers."""

from pathlib import Path

import litserve
import numpy as np

from benchmarks.serving_raw import bench_engine
from vision.package import open_package
from vision.preprocess import preprocess


class Api(litserve.LitAPI):
    folder: Path
    """Of the package; set before the server starts."""

    def setup(self, device: str) -> None:
        self.package = open_package(self.folder)
        self.engine = bench_engine(self.package)

    def decode_request(self, request) -> np.ndarray:
        return preprocess(request["file"].file.read(), self.package.spec.input)

    def batch(self, inputs) -> np.ndarray:
        return np.stack(inputs)

    def predict(self, images: np.ndarray) -> list[np.ndarray]:
        return list(self.engine.predict(images)["logits"])

    def unbatch(self, output: list[np.ndarray]) -> list[np.ndarray]:
        return output

    def encode_response(self, logits: np.ndarray) -> dict:
        return {"label": self.package.spec.labels[int(logits.argmax())], "logits": logits.tolist()}
