"""The places of one engine: a bounded number, reserved, filled, answered. How batches form is the line's matter."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from bentos.batching.batch import Batched, Place, Run
from bentos.batching.line import EngineLine


class Overloaded(Exception):
    """No place is free. `retry_after_s`: when what waits now should be answered."""

    def __init__(self, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"busy for another {retry_after_s:.2f} s")


class Closed(Exception):
    """The batcher takes no more images: the server is stopping."""


class Line(Protocol):
    """Those who wait for one engine: `bentos.batching.line` is ours, `bentos.batching.dispatcher` BentoML's."""

    def put(self, place: Place) -> None:
        """From any thread: the place's turn will come, and with it its answer."""

    def wait_s(self, images: int) -> float:
        """About how long so many images take."""

    async def close(self) -> None:
        """Called when nobody waits any more."""


class Batcher:
    """One engine's places. Belongs to one event loop; `Place.put` and `put_work` may be called from other threads."""

    def __init__(self, run: Run, max_batch: int, max_queue: int, line: Callable[[Run, int], Line] = EngineLine) -> None:
        """max_queue: images accepted and not answered yet, those in the engine included. line: made of run, max_batch."""
        self.max_queue, self.held = max_queue, 0
        """held: images accepted and not answered."""
        self._line = line(run, max_batch)
        self._closing = False
        self._empty: asyncio.Event | None = None

    async def submit(self, image: np.ndarray) -> Batched:
        """image: uint8 [S, S, 3]. Raises `Overloaded`, `Closed`, or what the engine raised for this image alone."""
        with self.reserve() as place:
            place.put(image)
            return await place.answer

    @contextlib.contextmanager
    def reserve(self) -> Iterator[Place]:
        """A place before there is an image: who can't be answered soon is told so before its image is decoded.

        Leaving the block, cancelled or not, gives the place back. Raises `Overloaded` at once when none is free.
        """
        if self._closing:
            raise Closed
        self.check_room(1)
        place = Place(asyncio.get_running_loop().create_future(), self._line.put)
        self.held += 1
        try:
            yield place
        finally:
            place.leave()
            self.held -= 1
            if self._empty is not None and self.held == 0:
                self._empty.set()

    def check_room(self, images: int) -> None:
        """Raises `Overloaded` when that many places are not free now."""
        if self.held + images > self.max_queue:
            raise Overloaded(self._line.wait_s(self.held))

    async def close(self) -> None:
        """Takes nothing new, answers what was accepted, then ends the line."""
        self._closing = True
        if self.held:
            self._empty = self._empty or asyncio.Event()
            await self._empty.wait()
        await self._line.close()
