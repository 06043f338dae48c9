"""A challenger in shadow: it answers what the champion has answered, for the records alone, when nobody waits for it."""

import asyncio
import contextlib
import time
from typing import Any

import numpy as np

from bentos.answers import Answered, answer_of
from bentos.batching.batcher import Closed, Overloaded
from bentos.batching.decoder import Decoder
from bentos.batching.lane import SHADOW, Lane
from bentos.hooks import Asked
from bentos.releasing.failures import Failures, Told, in_words
from bentos.releasing.router import Lanes
from configs.serving import ServingConfig
from vision.preprocess import ImageError, preprocess

PRESSURE = 8
"""The champion is under pressure from the time when one in so many of its places is taken."""


class Shadow:
    """One image at a time, and never more than `serving.shadow_time` of a worker's time. Belongs to one event loop."""

    def __init__(self, decoder: Decoder, serving: ServingConfig, told: Told) -> None:
        self._decoder, self._serving, self._told = decoder, serving, told
        self._failures = Failures(told)
        self._task: asyncio.Task | None = None
        self._rests_until_s = 0.0

    def offer(self, lanes: Lanes, answered: Answered, data: bytes, asked: Asked) -> None:
        """Takes the image up for after the answer, or drops it. data: its bytes, for a challenger that wants other pixels."""
        lane = lanes.challenger
        if lane is None or lane.route != SHADOW or answered.lane is not lanes.champion:
            return
        if self._has_room(lanes.champion, lane):
            self._task = asyncio.create_task(self._answer(lane, answered, data, asked), name="shadow")
        else:
            self._told()[1].dropped(SHADOW)

    async def close(self) -> None:
        """What is half-way is given up: nobody waits for it."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def _has_room(self, champion: Lane, challenger: Lane) -> bool:
        return (
            (self._task is None or self._task.done())
            and time.monotonic() >= self._rests_until_s
            and challenger.batcher.held == 0
            and champion.batcher.held * PRESSURE <= champion.batcher.max_queue
        )

    async def _answer(self, lane: Lane, answered: Answered, data: bytes, asked: Asked) -> None:
        (recorder, observer), start_s = self._told(), time.monotonic()
        try:
            async with asyncio.timeout(self._serving.request_timeout_s):
                fields = await self._fields(lane, answered, data, asked)
            recorder.append(fields)
            observer.shadowed()
        except (Overloaded, Closed, ImageError):
            observer.dropped(SHADOW)
        except Exception as error:  # Whatever it is, it is the challenger's alone.
            served = lane.served
            self._failures.add(served.release, served.model, SHADOW, in_words(error), answered.fields["id"])
        finally:
            took_s = time.monotonic() - start_s
            self._rests_until_s = start_s + took_s / self._serving.shadow_time

    async def _fields(self, lane: Lane, answered: Answered, data: bytes, asked: Asked) -> dict[str, Any]:
        batched = await lane.batcher.submit(await self._input(lane, answered, data))
        prediction, fields = answer_of(lane, answered.decoded, batched, asked, answered.fields["id"])
        return {**fields, "agrees": lane.kind.same(prediction, answered.prediction)}

    async def _input(self, lane: Lane, answered: Answered, data: bytes) -> np.ndarray:
        """uint8 [S, S, 3], as the challenger's own spec wants it."""
        if lane.spec.input == answered.lane.spec.input:
            return answered.image
        return await self._decoder.aside(preprocess, data, lane.spec.input, self._serving.max_megapixels)
