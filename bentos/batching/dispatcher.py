"""`serving.batching: bentoml`: the dispatcher behind `@bentoml.api(batchable=True)` in place of our line, to compare.

Same requests, places, decoding, engine and records, so that a difference is the dispatcher's alone. What it does
otherwise: it holds a lone request for most of the mean wait of past batches.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from bentos.batching.batch import Answer, Place, Run, answer_batch, deliver
from bentos.batching.batcher import Closed, Overloaded

MAX_LATENCY_MS = 60_000
"""BentoML's default. A shorter one makes it drop requests under load (STACK.md section 12)."""
WAIT_S = 1.0
"""It tells nobody how long its batches take."""


class DispatchedLine:
    """Implements `bentos.batching.batcher.Line`."""

    def __init__(self, run: Run, max_batch: int) -> None:
        self._run, self._max_batch = run, max_batch
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._dispatcher = self._ask = None

    def put(self, place: Place) -> None:
        place.answer.get_loop().call_soon_threadsafe(self._start, place)

    def wait_s(self, images: int) -> float:
        return WAIT_S

    async def close(self) -> None:
        if self._dispatcher is not None:
            self._dispatcher.shutdown()
        self._thread.shutdown()

    def _start(self, place: Place) -> None:
        """In the event loop: the dispatcher gets the place, and the place its answer."""
        if self._ask is None:
            self._dispatcher, self._ask = self._made()
        task = asyncio.ensure_future(self._ask(place))
        task.add_done_callback(lambda done: deliver([(place, _answer_of(done))]))

    def _made(self):
        from bentoml._internal.marshal.dispatcher import CorkDispatcher

        dispatcher = CorkDispatcher(
            MAX_LATENCY_MS, self._max_batch, fallback=lambda: None, get_batch_size=lambda place: 1
        )
        return dispatcher, dispatcher(self._answer)

    async def _answer(self, places: Sequence[Place]) -> Sequence[Answer]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._compute, places)

    def _compute(self, places: Sequence[Place]) -> list[Answer]:
        """In their order; who has left gets something that nobody reads."""
        answered = dict(answer_batch(self._run, places))
        return [answered.get(place, Closed()) for place in places]


def _answer_of(done: asyncio.Task) -> Answer:
    """None from the dispatcher: it dropped the request for having waited too long."""
    if done.cancelled():
        return Closed()
    return done.exception() or done.result() or Overloaded(WAIT_S)
