"""A lane: one package on its way to answers, with its engine and its queue. A release swaps lanes."""

import io
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

from bentos.batching.batch import Run
from bentos.batching.batcher import Batcher
from bentos.engine import Engine, ready_engine
from bentos.http.schemas import ModelInfo, ModelVersion
from bentos.releasing.source import Served
from configs.serving import ServingConfig
from vision.export.runtime import onnx_run
from vision.kinds import answering
from vision.preprocess import decode, preprocess

CHAMPION, CANARY, SHADOW = "champion", "canary", "shadow"
CLOSE_S = 10.0
"""An engine that hangs keeps a worker no longer from its next release, or from its end."""
EXPLAIN_SIDE_PX = 1024


class Lane:
    """route: what records say of its answers."""

    def __init__(self, served: Served, engine: Engine, batcher: Batcher, route: str = CHAMPION) -> None:
        self.served, self.engine, self.batcher, self.route = served, engine, batcher, route
        self.spec, self.kind = served.package.spec, answering(served.package.spec.kind)
        self.info = ModelInfo(
            system=served.system,
            version=served.model.version,
            package_sha=served.package.package_sha,
            arch=self.spec.arch,
        ).model_dump()
        self._cards = {label: card.model_dump(exclude_defaults=True) for label, card in served.cards.items()}

    def answer(self, outputs: Mapping[str, np.ndarray], size_px: tuple[int, int], top_k: int | None) -> dict[str, Any]:
        """What the kind says of one image. outputs: by name [...], of that image alone."""
        batch = {name: values[np.newaxis] for name, values in outputs.items()}
        return self.kind.answers(batch, self.spec, [size_px], top_k or self.served.serving.top_k)[0]

    def card(self, label: str) -> dict[str, str] | None:
        return self._cards.get(label)

    def version(self) -> ModelVersion:
        return ModelVersion(
            **self.info,
            title=self.served.title,
            kind=self.spec.kind,
            labels=self.spec.labels,
            heatmap=self.kind.heatmap and self.explains,
            vocabulary=self.kind.vocabulary(self.spec.labels),
            release_no=self.served.release.no,
            confident_at=self.spec.confident_at,
            input_side_px=self.spec.input.side_px,
            engine=self.engine.name,
            precision=self.engine.precision,
        )

    @property
    def explains(self) -> bool:
        graph = self.kind.explain_graph
        return graph is None or (self.served.package.folder / graph).is_file()

    @cached_property
    def _explain(self) -> Run:
        """What `kind.overlay` is drawn from; the engine where that is the model itself, so that both say the same."""
        graph = self.kind.explain_graph
        return self.engine.predict if graph is None else onnx_run(self.served.package.folder / graph, threads=1)

    def explain(self, data: bytes) -> bytes:
        """A PNG of the photograph with where its answer comes from. Blocks. Raises `ImageError`."""
        image = decode(data, self.served.serving.max_megapixels)
        found = self._explain(preprocess(data, self.spec.input, self.served.serving.max_megapixels)[np.newaxis])
        drawn = io.BytesIO()
        Image.fromarray(self.kind.overlay(image, found, self.spec, EXPLAIN_SIDE_PX)).save(drawn, "PNG")
        return drawn.getvalue()

    def renamed(self, served: Served, route: str) -> "Lane":
        """The same engine and queue in another release."""
        return Lane(served, self.engine, self.batcher, route)

    async def close(self) -> None:
        """Answers what it had accepted."""
        await self.batcher.close()


def open_lane(served: Served, route: str = CHAMPION) -> Lane:
    """An engine that has proved itself, and its queue. Blocks for seconds: call it in a thread while others are served.

    Raises `UserError` when the package doesn't answer here as it should.
    """
    serving = served.serving
    engine = ready_engine(served.package, serving)
    return Lane(served, engine, make_batcher(engine, serving), route)


def make_batcher(engine: Engine, serving: ServingConfig) -> Batcher:
    if serving.batching == "bentoml":
        from bentos.batching.dispatcher import DispatchedLine

        return Batcher(engine.predict, serving.max_batch, serving.max_queue, DispatchedLine)
    return Batcher(engine.predict, serving.max_batch, serving.max_queue)
