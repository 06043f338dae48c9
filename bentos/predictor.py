"""From the bytes of one image to an answer. A plain class, tested without a server."""

import numpy as np
from uuid6 import uuid7

from bentos.engine import Engine
from bentos.schemas import Health, ModelInfo, ModelVersion, Prediction
from bentos.source import Served
from vision.kinds import answering
from vision.preprocess import decode, to_input


class Predictor:
    """One served package and its engine."""

    def __init__(self, served: Served, engine: Engine) -> None:
        self.served, self.engine = served, engine
        self.kind = answering(served.package.spec.kind)

    def predict(self, data: bytes) -> Prediction:
        """data: an image file. Blocks for decoding and inference. Raises `vision.preprocess.ImageError`."""
        spec, serving = self.served.package.spec, self.served.serving
        image = decode(data, serving.max_megapixels)
        outputs = self.engine.predict(to_input(image, spec.input)[np.newaxis])
        [answer] = self.kind.answers(outputs, spec, [image.size], serving.top_k)
        return Prediction(
            prediction_id=str(uuid7()),
            model=self.model_info(),
            card=self._card(self.kind.summary(answer)["label"]),
            **answer,
        )

    def model_info(self) -> ModelInfo:
        package = self.served.package
        return ModelInfo(
            system=self.served.system,
            version=self.served.release.champion.version,
            package_sha=package.package_sha,
            arch=package.spec.arch,
        )

    def model_version(self) -> ModelVersion:
        spec = self.served.package.spec
        return ModelVersion(
            **self.model_info().model_dump(),
            kind=spec.kind,
            labels=spec.labels,
            release_no=self.served.release.no,
            confident_at=spec.confident_at,
            input_side_px=spec.input.side_px,
        )

    def health(self) -> Health:
        return Health(status="ok", **self.model_info().model_dump(include={"system", "version", "package_sha"}))

    def _card(self, label: str) -> dict[str, str] | None:
        card = self.served.cards.get(label)
        return card.model_dump(exclude_defaults=True) if card else None
