"""BentoML's dispatcher in our batcher's place: the same promises, as far as it can keep them."""

import asyncio

import numpy as np
import pytest

from bentos.batching.batcher import Batcher, Closed, Overloaded
from bentos.batching.dispatcher import DispatchedLine


def image(number: int) -> np.ndarray:
    return np.full((2, 2, 3), number, np.uint8)


def run(images: np.ndarray) -> dict[str, np.ndarray]:
    if (images == 255).any():
        raise ValueError("bad image")
    return {"logits": images[:, 0, 0, :1].astype(np.float32)}


def test_each_image_gets_its_own_answer_and_no_batch_is_larger_than_allowed():
    async def scene():
        batcher = Batcher(run, 4, 100, DispatchedLine)
        found = await asyncio.gather(*(batcher.submit(image(number)) for number in range(60)))
        await batcher.close()
        with pytest.raises(Closed):
            await batcher.submit(image(1))
        return found

    found = asyncio.run(scene())
    assert [int(item.outputs["logits"][0]) for item in found] == list(range(60))
    assert max(item.batch_size for item in found) <= 4


def test_overload_and_faults_are_told():
    async def scene():
        batcher = Batcher(run, 4, 2, DispatchedLine)
        with pytest.raises(ValueError, match="bad image"):
            await batcher.submit(image(255))
        with batcher.reserve(), batcher.reserve(), pytest.raises(Overloaded):
            await batcher.submit(image(1))
        assert (await batcher.submit(image(3))).batch_size == 1
        await batcher.close()

    asyncio.run(scene())


def test_one_bad_image_fails_alone_whether_the_engine_or_its_making_finds_out():
    def broken() -> np.ndarray:
        raise OSError("no image")

    async def scene():
        batcher = Batcher(run, 8, 100, DispatchedLine)

        async def made(make):
            with batcher.reserve() as place:
                place.put_work(make)
                return await place.answer

        work = [lambda number=number: image(number) for number in (1, 2, 255, 4)]
        found = await asyncio.gather(*(made(make) for make in (*work, broken)), return_exceptions=True)
        await batcher.close()
        return found

    *found, unmade = asyncio.run(scene())
    assert [int(found[index].outputs["logits"][0]) for index in (0, 1, 3)] == [1, 2, 4]
    assert isinstance(found[2], ValueError)
    assert isinstance(unmade, OSError)
