"""`serving.batching: bentoml`: the dispatcher behind `@bentoml.api(batchable=True)` in place of our batcher, to compare.

Same requests, decoding, engine and records, so that a difference is the dispatcher's alone. What it does otherwise: it
holds a lone request for most of the mean wait of past batches, lets a batch fail as one, and has no bound of its own.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from bentos.batcher import Batched, Closed, Overloaded, Place, Run

MAX_LATENCY_MS = 60_000
"""BentoML's default. A shorter one makes it drop requests under load (STACK.md section 12)."""


class DispatchedBatcher:
    """The same outside as `bentos.batcher.Batcher`."""

    def __init__(self, run: Run, max_batch: int, max_queue: int) -> None:
        self._run, self.max_batch, self.max_queue = run, max_batch, max_queue
        self.held, self._closing = 0, False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._dispatcher = self._ask = None

    async def submit(self, image: np.ndarray) -> Batched:
        with self.reserve() as place:
            place.put(image)
            return await place.answer

    @contextlib.contextmanager
    def reserve(self) -> Iterator[Place]:
        if self._closing:
            raise Closed
        self.check_room(1)
        loop = asyncio.get_running_loop()
        place = Place(loop.create_future(), lambda place: loop.call_soon_threadsafe(self._start, place))
        self.held += 1
        try:
            yield place
        finally:
            place.gone = True
            self.held -= 1

    def check_room(self, images: int) -> None:
        if self.held + images > self.max_queue:
            raise Overloaded(1.0)

    async def close(self) -> None:
        self._closing = True
        while self.held:
            await asyncio.sleep(0.01)
        if self._dispatcher is not None:
            self._dispatcher.shutdown()
        self._thread.shutdown()

    def _start(self, place: Place) -> None:
        """In the event loop: the dispatcher gets the place, and the place its answer."""
        if self._ask is None:
            self._dispatcher, self._ask = self._made()
        task = asyncio.ensure_future(self._ask(place))
        task.add_done_callback(lambda done: _settle(place, done))

    def _made(self):
        from bentoml._internal.marshal.dispatcher import CorkDispatcher

        dispatcher = CorkDispatcher(
            MAX_LATENCY_MS, self.max_batch, fallback=lambda: None, get_batch_size=lambda place: 1
        )
        return dispatcher, dispatcher(self._answer)

    async def _answer(self, places: Sequence[Place]) -> Sequence[Batched]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._compute, places)

    def _compute(self, places: Sequence[Place]) -> list[Batched]:
        start_s = time.perf_counter()
        outputs = self._run(np.stack([place.image for place in places]))
        compute_ms = 1000 * (time.perf_counter() - start_s)
        return [
            Batched(
                {name: values[row] for name, values in outputs.items()},
                len(places),
                1000 * (start_s - place.put_s),
                compute_ms,
            )
            for row, place in enumerate(places)
        ]


def _settle(place: Place, done: asyncio.Task) -> None:
    error = Closed() if done.cancelled() else done.exception()
    if place.gone or place.answer.done():
        return
    if error is not None or done.result() is None:  # None: it dropped the request for having waited too long
        place.answer.set_exception(error or Overloaded(1.0))
    else:
        place.answer.set_result(done.result())
