"""From the bytes of one image to an answer and its record. A plain class, tested without a server."""

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from uuid6 import uuid7

from bentos.batcher import Batched, Closed, Overloaded
from bentos.decoder import Decoded, Decoder
from bentos.hooks import Asked, Keeper, NullObserver, NullRecorder, Observer, Recorder
from bentos.lane import Lane
from vision.preprocess import ImageError

Prediction = dict[str, Any]
"""JSON-able; `bentos.schemas.Prediction` says what is in it."""


class Predictor:
    """The lane that answers now, and those who are told of each answer. Belongs to one event loop."""

    def __init__(self, lane: Lane, recorder: Recorder | None = None, observer: Observer | None = None) -> None:
        serving = lane.served.serving
        self.lane, self.serving = lane, serving
        self.recorder: Recorder = recorder or NullRecorder()
        self.observer: Observer = observer or NullObserver()
        self.keeper: Keeper | None = None
        self.decoder = Decoder(
            serving.decode_threads, serving.max_megapixels, serving.max_queue, serving.features_per_s
        )

    async def predict(self, data: bytes, asked: Asked) -> Prediction:
        """data: an image file. Raises `ImageError`, `Overloaded`, or what the engine raised for this image alone.

        The lane is chosen once: a release that comes meanwhile doesn't touch this answer.
        """
        lane = self.lane
        with self._counted(), lane.batcher.reserve() as place:
            decoded = await self.decoder.decode(data, lane.spec.input, place.put)
            batched = await place.answer
        prediction, fields = self._answer(lane, decoded, batched, asked)
        self.recorder.append(fields)
        self.observer.answered(fields, decoded.decode_s)
        if asked.keep and self.keeper is not None:
            await asyncio.to_thread(self.keeper.keep, data, prediction["prediction_id"], fields["client_hash"])
        return prediction

    def check_room(self, images: int) -> None:
        """Raises `Overloaded` when that many images would not all be taken now."""
        with self._counted():
            self.lane.batcher.check_room(images)

    async def explain(self, data: bytes) -> bytes:
        """A PNG, see `Lane.explain`. Raises `ImageError`, `Overloaded`."""
        with self._counted():
            return await self.decoder.aside(self.lane.explain, data)

    def swap(self, lane: Lane) -> Lane:
        """From now on `lane` answers; returns the one before, to be closed."""
        old, self.lane = self.lane, lane
        return old

    async def close(self) -> None:
        """Answers what was accepted."""
        await self.lane.close()
        self.decoder.close()

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        """Tells the observer of what is not answered."""
        try:
            yield
        except ImageError as error:
            self.observer.refused(error.reason)
            raise
        except Overloaded:
            self.observer.refused("overloaded")
            raise
        except Closed:
            raise
        except Exception:
            self.observer.failed()
            raise

    def _answer(
        self, lane: Lane, decoded: Decoded, batched: Batched, asked: Asked
    ) -> tuple[Prediction, dict[str, Any]]:
        """The answer, and the fields of its record."""
        answer = lane.answer(batched.outputs, decoded.size_px, asked.top_k)
        summary = lane.kind.summary(answer)
        prediction_id = str(uuid7())
        fields = {
            "id": prediction_id,
            "at": datetime.now(UTC),
            "package_sha": lane.info["package_sha"],
            "model_version": lane.info["version"],
            "release_no": lane.served.release.no,
            "route": lane.route,
            "pair_id": None,
            "client_hash": asked.client.client_hash if asked.client else None,
            "batch_size": batched.batch_size,
            "queue_ms": batched.queue_ms,
            "compute_ms": batched.compute_ms,
            "features": decoded.features,
            "embedding": batched.outputs["embedding"],
            "answer": {name: value for name, value in answer.items() if name not in ("confidence", "confident")},
            "confidence": summary["confidence"],
            "confident": summary["confident"],
        }
        prediction = {
            "prediction_id": prediction_id,
            "model": lane.info,
            "card": lane.card(summary["label"]),
            **answer,
        }
        return prediction, fields
