"""One batch: the places that are in it, their images made, run together, and each answered for itself."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Run = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""images uint8 [N, S, S, 3] -> outputs by name, each [N, ...]."""
Make = Callable[[], np.ndarray]
"""Gives one image, uint8 [S, S, 3]; what it raises is the answer of its place alone."""


@dataclass(frozen=True, slots=True)
class Batched:
    """What one image got. outputs: by name [...], without the batch axis. queue_ms: from `put` to the run of its batch,
    without the making of its own image. compute_ms: the run of the whole batch of `batch_size` images.
    """

    outputs: Mapping[str, np.ndarray]
    batch_size: int
    queue_ms: float
    compute_ms: float


Answer = Batched | Exception


class Place:
    """One image's place, from its reservation to its answer. `await place.answer` in the loop that reserved it."""

    __slots__ = ("_line", "_make", "_make_s", "answer", "gone", "image", "put_s")

    def __init__(self, answer: asyncio.Future[Batched], line: Callable[["Place"], None]) -> None:
        """line: takes the place once it has its image, or what makes it."""
        self.answer, self._line = answer, line
        self.image: np.ndarray | None = None
        """The model's input, uint8 [S, S, 3]; stays after the answer."""
        self._make: Make | None = None
        self.put_s = self._make_s = 0.0
        self.gone = False
        """Its client left: it is dropped when its turn comes."""

    def put(self, image: np.ndarray) -> None:
        """Hands in the image, uint8 [S, S, 3]. Once, from any thread."""
        self.image, self.put_s = image, time.perf_counter()
        self._line(self)

    def put_work(self, make: Make) -> None:
        """Hands in what makes the image, for the engine's thread to call when its turn has come. Instead of `put`."""
        self._make, self.put_s = make, time.perf_counter()
        self._line(self)

    def renew(self) -> None:
        """After an answer that was an error: the same place may be put once more."""
        self.answer, self._make = self.answer.get_loop().create_future(), None

    def make(self) -> None:
        """In the engine's thread: its image is there after this. Raises what its making raises."""
        if self._make is not None:
            start_s = time.perf_counter()
            self.image = self._make()
            self._make_s = time.perf_counter() - start_s

    def queue_ms(self, start_s: float) -> float:
        """start_s: of the run."""
        return 1000 * (start_s - self.put_s - self._make_s)


def answer_batch(run: Run, batch: Sequence[Place]) -> Iterator[tuple[Place, Answer]]:
    """In the engine's thread. Whose client has left by its turn gets none; one bad image never fails its neighbours."""
    ready = []
    for place in batch:
        if place.gone:
            continue
        try:
            place.make()
            ready.append(place)
        except Exception as error:
            yield place, error
    yield from zip(ready, _run_together(run, ready), strict=True)


def deliver(answered: Sequence[tuple[Place, Answer]]) -> None:
    """In the event loop."""
    for place, answer in answered:
        if place.gone or place.answer.done():
            continue
        if isinstance(answer, Exception):
            place.answer.set_exception(answer)
        else:
            place.answer.set_result(answer)


def _run_together(run: Run, batch: Sequence[Place]) -> Sequence[Answer]:
    if not batch:
        return []
    try:
        return _computed(run, batch)
    except Exception as error:
        # It may be one image's fault: each goes again, alone.
        return [error] if len(batch) == 1 else [_run_together(run, [place])[0] for place in batch]


def _computed(run: Run, batch: Sequence[Place]) -> list[Batched]:
    start_s = time.perf_counter()
    outputs = run(np.stack([place.image for place in batch]))
    compute_ms = 1000 * (time.perf_counter() - start_s)
    if any(len(values) != len(batch) for values in outputs.values()):
        raise ValueError(f"the engine gave {[len(values) for values in outputs.values()]} for {len(batch)} images")
    return [
        Batched(
            {name: values[row] for name, values in outputs.items()}, len(batch), place.queue_ms(start_s), compute_ms
        )
        for row, place in enumerate(batch)
    ]
