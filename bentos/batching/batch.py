"""One batch: the places that are in it, their images made, run together, and each answered for itself."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

AT_ONCE = 4
"""Answers that are delivered in one turn of the event loop."""
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
        """Its client left: it is dropped when its turn comes, and until then it holds no bytes."""

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

    def make(self) -> np.ndarray | None:
        """In the engine's thread: its image, None when its client has just left. Raises what its making raises."""
        make = self._make
        if make is None:
            return self.image
        start_s = time.perf_counter()
        self.image = image = make()
        self._make_s = time.perf_counter() - start_s
        return image

    def leave(self) -> None:
        """In the event loop: nobody waits for it any more. A line whose engine hangs keeps the place, so not its bytes."""
        answer, self.gone, self._make = self.answer, True, None
        if not answer.done() or answer.cancelled() or answer.exception() is not None:
            self.image = None

    def queue_ms(self, start_s: float) -> float:
        """start_s: of the run."""
        return 1000 * (start_s - self.put_s - self._make_s)


def answer_batch(run: Run, batch: Sequence[Place]) -> Iterator[tuple[Place, Answer]]:
    """In the engine's thread. Whose client has left by its turn gets none; one bad image never fails its neighbours."""
    ready, images = [], []
    for place in batch:
        if place.gone:
            continue
        try:
            image = place.make()
        except Exception as error:
            yield place, error
            continue
        if image is not None:
            ready.append(place)
            images.append(image)
    yield from zip(ready, _run_together(run, ready, images), strict=True)


def deliver(answered: Sequence[tuple[Place, Answer]]) -> None:
    """In the event loop, a few in each of its turns: to write a whole batch's answers takes milliseconds, for which
    everything else there would wait, a refusal as well."""
    if len(answered) > AT_ONCE:
        asyncio.get_running_loop().call_soon(deliver, answered[AT_ONCE:])
    for place, answer in answered[:AT_ONCE]:
        if place.gone or place.answer.done():
            continue
        if isinstance(answer, Exception):
            place.answer.set_exception(answer)
        else:
            place.answer.set_result(answer)


def _run_together(run: Run, batch: Sequence[Place], images: Sequence[np.ndarray]) -> Sequence[Answer]:
    if not batch:
        return []
    try:
        return _computed(run, batch, images)
    except Exception as error:
        # It may be one image's fault: each goes again, alone.
        alone = zip(batch, images, strict=True)
        return [error] if len(batch) == 1 else [_run_together(run, [place], [image])[0] for place, image in alone]


def _computed(run: Run, batch: Sequence[Place], images: Sequence[np.ndarray]) -> list[Batched]:
    start_s = time.perf_counter()
    outputs = run(np.stack(images))
    compute_ms = 1000 * (time.perf_counter() - start_s)
    if any(len(values) != len(batch) for values in outputs.values()):
        raise ValueError(f"the engine gave {[len(values) for values in outputs.values()]} for {len(batch)} images")
    return [
        Batched(
            {name: values[row] for name, values in outputs.items()}, len(batch), place.queue_ms(start_s), compute_ms
        )
        for row, place in enumerate(batch)
    ]
