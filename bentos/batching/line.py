"""Batches without a timer: whatever waits when the engine becomes free, capped.

A lone request is never held back, and under load batches grow by themselves. One thread runs the engine; the event
loop only counts places. BentoML's own dispatcher holds a lone request for most of the mean wait of past batches
(45-148 ms after a burst, where this takes 3).
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from threading import Thread

from bentos.batching.batch import Place, Run, answer_batch, deliver

SMOOTHING = 0.2
"""Weight of the latest batch in the mean time an image takes."""
JOIN_S = 1.0


class EngineLine:
    """The engine's thread and those who wait for it. Implements `bentos.batching.batcher.Line`."""

    def __init__(self, run: Run, max_batch: int) -> None:
        self._run, self._max_batch = run, max_batch
        self._queue: SimpleQueue[Place | None] = SimpleQueue()
        self.put = self._queue.put
        self._image_s = 0.0
        self._thread = Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    def wait_s(self, images: int) -> float:
        return images * self._image_s

    async def close(self) -> None:
        self._queue.put(None)
        while self._thread.is_alive():
            # In bits: a thread that waits for an engine that hangs would keep the process from ending.
            await asyncio.to_thread(self._thread.join, JOIN_S)

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            batch, ending = self._form(first)
            if batch:
                self._answer(batch)
            if ending:
                return

    def _form(self, first: Place) -> tuple[list[Place], bool]:
        """What waits now, in order, without those whose client left; True when the end was met."""
        batch = [] if first.gone else [first]
        while len(batch) < self._max_batch:
            try:
                place = self._queue.get_nowait()
            except Empty:
                break
            if place is None:
                return batch, True
            if not place.gone:
                batch.append(place)
        return batch, False

    def _answer(self, batch: Sequence[Place]) -> None:
        start_s = time.perf_counter()
        answered = list(answer_batch(self._run, batch))
        image_s = (time.perf_counter() - start_s) / len(batch)
        self._image_s = image_s if self._image_s == 0 else self._image_s + SMOOTHING * (image_s - self._image_s)
        # Fails when the loop has ended; then nobody waits.
        with contextlib.suppress(RuntimeError):
            batch[0].answer.get_loop().call_soon_threadsafe(deliver, answered)
