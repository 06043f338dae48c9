"""A batcher on a stage of its own: an engine that can be held up or fail, and scenes played in a fresh event loop."""

import asyncio
import threading

import numpy as np

from bentos.batching.batcher import Batcher

PATIENCE_S = 10


class Engine:
    """Gives each image's number back. Waits at `gate` where one is set; fails for images in `bad`."""

    def __init__(self, bad: tuple[int, ...] = (), gated: bool = False) -> None:
        self.bad, self.batches = bad, []
        self.gate = threading.Event()
        self.started = threading.Event()
        if not gated:
            self.gate.set()

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        numbers = [int(image[0, 0, 0]) for image in images]
        self.batches.append(numbers)
        self.started.set()
        assert self.gate.wait(PATIENCE_S)
        if set(numbers) & set(self.bad):
            raise ValueError(f"bad image in {numbers}")
        return {"logits": np.array([[number] for number in numbers], np.float32)}


def image(number: int) -> np.ndarray:
    return np.full((2, 2, 3), number, np.uint8)


def number_of(batched) -> int:
    return int(batched.outputs["logits"][0])


def play(engine: Engine, scene, max_batch: int = 4, max_queue: int = 100):
    """Runs `scene(batcher)` in a loop of its own; the batcher is closed after it."""

    async def main():
        batcher = Batcher(engine.run, max_batch, max_queue)
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await scene(batcher)
        finally:
            engine.gate.set()
            await batcher.close()

    return asyncio.run(main())


async def behind_a_running_batch(engine: Engine, batcher: Batcher, numbers) -> list[asyncio.Task]:
    """Task 0 is in the engine; those of `numbers` wait behind it, in this order."""
    tasks = [asyncio.create_task(batcher.submit(image(0)))]
    assert await asyncio.to_thread(engine.started.wait, PATIENCE_S)
    for number in numbers:
        tasks.append(asyncio.create_task(batcher.submit(image(number))))
        await asyncio.sleep(0)
    return tasks
