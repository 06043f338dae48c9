"""From the bytes of one image to an answer and its record. A plain class, tested without a server."""

import asyncio
import contextlib
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from bentos.answers import Answered, Prediction, answer_of
from bentos.batching.batcher import Closed, Overloaded
from bentos.batching.decoder import open_decoder
from bentos.batching.lane import CANARY, CLOSE_S, Lane
from bentos.hooks import Asked, Client, Keeper, NullObserver, NullRecorder, Observer, Recorder
from bentos.releasing.canary import Canary
from bentos.releasing.router import Lanes, Router
from bentos.releasing.shadow import Shadow
from vision.preprocess import ImageError

HEATMAP = "heatmap_png"
KEPT = "kept"
Result = TypeVar("Result")


class Predictor:
    """The lanes that answer now, and those who are told of each answer. Belongs to one event loop."""

    def __init__(self, lane: Lane, recorder: Recorder | None = None, observer: Observer | None = None) -> None:
        """lane: the champion's; a challenger comes with the take-up."""
        self.serving = serving = lane.served.serving
        self.router = Router(Lanes(lane.served.release, lane))
        self.recorder: Recorder = recorder or NullRecorder()
        self.observer: Observer = observer or NullObserver()
        self.keeper: Keeper | None = None
        self.decoder = open_decoder(serving)
        self._canary = Canary(self.router, serving.request_timeout_s, self.told)
        self._shadow = Shadow(self.decoder, serving, self.told)

    @property
    def lane(self) -> Lane:
        """The champion's."""
        return self.router.lanes.champion

    def told(self) -> tuple[Recorder, Observer]:
        return self.recorder, self.observer

    async def predict(self, data: bytes, asked: Asked) -> Prediction:
        """data: an image file. Raises `ImageError`, `Overloaded`, or what the engine raised for this image alone.

        The lane is chosen once: a release that comes meanwhile doesn't touch this answer.
        """
        lanes, lane = self.router.lanes, self._lane_of(asked.client, data, asked.explain)
        with self._counted():
            answered = await self._ask(lane, lambda lane: self._answer(lane, data, asked))
        fields = answered.fields
        self.recorder.append(fields)
        self.observer.answered(fields, answered.decoded.decode_s)
        if asked.keep and self.keeper is not None:
            kept = asyncio.to_thread(self.keeper.keep, data, fields["id"], fields["client_hash"])
            answered.prediction[KEPT] = await kept
        self._shadow.offer(lanes, answered, data, asked)
        return answered.prediction

    def check_room(self, images: int, client: Client | None = None) -> None:
        """Raises `Overloaded` when that many images would not all be taken now."""
        lane = self.router.lane_of(client)
        with self._counted():
            if lane.route == CANARY:
                with contextlib.suppress(Overloaded):
                    lane.batcher.check_room(images)
                    return
            self.lane.batcher.check_room(images)

    def full_for_s(self) -> float | None:
        """About how long nobody would be taken, which is counted as a refusal; None when there is room for one now, or
        may be with a challenger."""
        lanes = self.router.lanes
        if lanes.challenger is not None:
            return None
        try:
            lanes.champion.batcher.check_room(1)
        except Overloaded as full:
            self.observer.refused("overloaded")
            return full.retry_after_s
        return None

    async def explain(self, data: bytes, client: Client | None = None) -> bytes:
        """A PNG, see `Lane.explain`, of the model that answers this client. Raises `ImageError`, `Overloaded`."""
        lane = self._lane_of(client, data, explain=True)
        with self._counted():
            return await self._ask(lane, lambda lane: self.decoder.aside(lane.explain, data))

    async def close(self) -> None:
        """Answers what was accepted. A challenger whose engine hangs is left behind."""
        await self._shadow.close()
        lanes = self.router.lanes
        if lanes.challenger is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(lanes.challenger.close(), CLOSE_S)
        await lanes.champion.close()
        self.decoder.close()

    def _lane_of(self, client: Client | None, data: bytes, explain: bool) -> Lane:
        lane = self.router.lane_of(client, data)
        return self.lane if explain and not lane.explains else lane

    def _ask(self, lane: Lane, ask: Callable[[Lane], Awaitable[Result]]) -> Awaitable[Result]:
        return self._canary.ask(lane, ask) if lane.route == CANARY else ask(lane)

    async def _answer(self, lane: Lane, data: bytes, asked: Asked) -> Answered:
        with lane.batcher.reserve() as place:
            decoded = await self.decoder.fill(place, data, lane.spec.input)
            batched = await place.answer
            # While the place is held: the lane is not closed under it.
            heatmap = await self.decoder.aside(lane.explain, data) if asked.explain else None
        prediction, fields = answer_of(lane, decoded, batched, asked)
        if heatmap is not None:
            prediction[HEATMAP] = b64encode(heatmap).decode()
        return Answered(lane, prediction, fields, decoded, place.image)

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
