"""The batcher alone: overload, places, closing."""

import asyncio
import threading
import time

import pytest

from bentos.batcher import Batcher, Closed, Overloaded
from tests.serving.batcher_stage import Engine, behind_a_running_batch, image, number_of, play


def test_overload_is_told_at_once_and_passes():
    engine = Engine(gated=True)

    async def scene(batcher):
        tasks = await behind_a_running_batch(engine, batcher, [1, 2])
        start_s = time.perf_counter()
        for _ in range(100):
            with pytest.raises(Overloaded) as refused:
                await batcher.submit(image(9))
        refusal_ms = 1000 * (time.perf_counter() - start_s) / 100
        engine.gate.set()
        await asyncio.gather(*tasks)
        assert batcher.held == 0
        return refused.value, refusal_ms, await batcher.submit(image(4))

    refused, refusal_ms, later = play(engine, scene, max_queue=3)
    assert refused.retry_after_s >= 0
    assert refusal_ms < 5
    assert number_of(later) == 4
    assert all(9 not in batch for batch in engine.batches)


def test_retry_after_is_the_time_that_what_waits_will_take():
    engine = Engine()

    def slow(images):
        time.sleep(0.05)
        return engine.run(images)

    async def scene():
        batcher = Batcher(slow, 1, 3)
        await batcher.submit(image(1))
        with batcher.reserve(), batcher.reserve(), batcher.reserve(), pytest.raises(Overloaded) as refused:
            batcher.check_room(1)
        await batcher.close()
        return refused.value.retry_after_s

    assert 0.15 <= asyncio.run(scene()) < 1


def test_a_place_is_held_from_its_reservation_and_given_back_when_decoding_fails():
    async def scene(batcher):
        with pytest.raises(OSError, match="no image"), batcher.reserve():
            assert batcher.held == 1
            with pytest.raises(Overloaded):
                batcher.check_room(1)
            raise OSError("no image")
        return batcher.held, await batcher.submit(image(5))

    held, later = play(Engine(), scene, max_queue=1)
    assert held == 0
    assert number_of(later) == 5


def test_a_place_may_be_filled_from_another_thread():
    async def scene(batcher):
        with batcher.reserve() as place:
            await asyncio.to_thread(place.put, image(6))
            return await place.answer

    assert number_of(play(Engine(), scene)) == 6


def test_closing_answers_what_was_accepted_and_takes_nothing_new():
    engine = Engine(gated=True)

    async def scene(batcher):
        tasks = await behind_a_running_batch(engine, batcher, range(1, 10))
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)
        with pytest.raises(Closed):
            await batcher.submit(image(50))
        assert not closing.done()
        engine.gate.set()
        found = await asyncio.gather(*tasks)
        await closing
        return found

    assert [number_of(item) for item in play(engine, scene)] == list(range(10))


def test_closing_waits_for_a_place_whose_image_is_still_being_decoded():
    async def scene(batcher):
        with batcher.reserve() as place:
            closing = asyncio.create_task(batcher.close())
            await asyncio.sleep(0.01)
            place.put(image(3))
            found = await place.answer
        await closing
        return found

    assert number_of(play(Engine(), scene)) == 3


def test_closing_twice_is_closing_and_leaves_no_thread():
    async def scene():
        batcher = Batcher(Engine().run, 4, 4)
        await batcher.submit(image(1))
        await asyncio.gather(batcher.close(), batcher.close())
        return batcher

    before = threading.active_count()
    batcher = asyncio.run(scene())
    assert not batcher._line._thread.is_alive()
    assert threading.active_count() <= before + 1  # asyncio.run ends its own helpers a moment later
