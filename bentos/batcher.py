"""Batches without a timer: whatever waits when the engine becomes free, capped, from a bounded queue.

A lone request is never held back, and under load batches grow by themselves. One thread runs the engine; the event
loop only counts places. BentoML's own dispatcher holds a lone request for most of the mean wait of past batches
(45-148 ms after a burst, where this takes 3).
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread

import numpy as np

Run = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""images uint8 [N, S, S, 3] -> outputs by name, each [N, ...]."""
SMOOTHING = 0.2
"""Weight of the latest batch in the mean time an image takes."""


class Overloaded(Exception):
    """No place is free. `retry_after_s`: when what waits now should be answered."""

    def __init__(self, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"busy for another {retry_after_s:.2f} s")


class Closed(Exception):
    """The batcher takes no more images: the server is stopping."""


@dataclass(frozen=True, slots=True)
class Batched:
    """What one image got. outputs: by name [...], without the batch axis. queue_ms: from `put` to the start of its batch.

    compute_ms: the whole batch of `batch_size` images.
    """

    outputs: Mapping[str, np.ndarray]
    batch_size: int
    queue_ms: float
    compute_ms: float


class Place:
    """One image's place, from its reservation to its answer. `await place.answer` in the loop that reserved it."""

    __slots__ = ("_put", "answer", "gone", "image", "put_s")

    def __init__(self, answer: asyncio.Future[Batched], put: Callable[["Place"], None]) -> None:
        self.answer, self._put = answer, put
        self.image: np.ndarray | None = None
        self.put_s = 0.0
        self.gone = False
        """Its client left: it is dropped when its turn comes."""

    def put(self, image: np.ndarray) -> None:
        """Hands in the image, uint8 [S, S, 3]. Once, from any thread."""
        self.image, self.put_s = image, time.perf_counter()
        self._put(self)


class Batcher:
    """One engine's queue. Belongs to one event loop; `Place.put` alone may be called from other threads."""

    def __init__(self, run: Run, max_batch: int, max_queue: int) -> None:
        """max_queue: images accepted and not answered yet, those in the engine included."""
        self._run, self.max_batch, self.max_queue = run, max_batch, max_queue
        self._queue: SimpleQueue[Place | None] = SimpleQueue()
        self._held = 0
        self._image_s = 0.0
        self._closing = False
        self._empty: asyncio.Event | None = None
        self._thread = Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    @property
    def held(self) -> int:
        """Images accepted and not answered."""
        return self._held

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
        place = Place(asyncio.get_running_loop().create_future(), self._queue.put)
        self._held += 1
        try:
            yield place
        finally:
            place.gone = True
            self._held -= 1
            if self._empty is not None and self._held == 0:
                self._empty.set()

    def check_room(self, images: int) -> None:
        """Raises `Overloaded` when that many places are not free now."""
        if self._held + images > self.max_queue:
            raise Overloaded(self._held * self._image_s)

    async def close(self) -> None:
        """Takes nothing new, answers what was accepted, then ends the thread."""
        self._closing = True
        if self._held:
            self._empty = self._empty or asyncio.Event()
            await self._empty.wait()
        self._queue.put(None)
        while self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)

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
        while len(batch) < self.max_batch:
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
        try:
            answers: list[Batched | Exception] = self._compute(batch, start_s)
        except Exception as error:
            # One image must not fail its neighbours: each goes again, alone.
            answers = [error] if len(batch) == 1 else [self._alone(place) for place in batch]
        image_s = (time.perf_counter() - start_s) / len(batch)
        self._image_s = image_s if self._image_s == 0 else self._image_s + SMOOTHING * (image_s - self._image_s)
        # Fails when the loop has ended; then nobody waits.
        with contextlib.suppress(RuntimeError):
            batch[0].answer.get_loop().call_soon_threadsafe(_deliver, batch, answers)

    def _alone(self, place: Place) -> Batched | Exception:
        try:
            return self._compute([place], time.perf_counter())[0]
        except Exception as error:
            return error

    def _compute(self, batch: Sequence[Place], start_s: float) -> list[Batched]:
        images = np.stack([place.image for place in batch])
        outputs = self._run(images)
        compute_ms = 1000 * (time.perf_counter() - start_s)
        if any(len(values) != len(batch) for values in outputs.values()):
            raise ValueError(f"the engine gave {[len(values) for values in outputs.values()]} for {len(batch)} images")
        return [
            Batched(
                {name: values[row] for name, values in outputs.items()},
                len(batch),
                1000 * (start_s - place.put_s),
                compute_ms,
            )
            for row, place in enumerate(batch)
        ]


def _deliver(batch: Sequence[Place], answers: Sequence[Batched | Exception]) -> None:
    for place, answer in zip(batch, answers, strict=True):
        if place.gone or place.answer.done():
            continue
        if isinstance(answer, Exception):
            place.answer.set_exception(answer)
        else:
            place.answer.set_result(answer)
