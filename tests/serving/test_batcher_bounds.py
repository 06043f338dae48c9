"""The batcher alone: overload, places, closing."""

import asyncio
import gc
import threading
import time
import weakref

import numpy as np
import pytest

from bentos.batching.batch import AT_ONCE
from bentos.batching.batcher import Batcher, Closed, Overloaded
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


def test_of_clients_that_gave_up_on_an_engine_that_hangs_no_bytes_are_kept():
    """Each leaves a place for the next; the line holds them until the engine is free."""
    engine, kept = Engine(gated=True), []

    async def ask(batcher, number):
        with batcher.reserve() as place:
            hand_in(place, number)
            await asyncio.wait_for(place.answer, 0.01)

    def hand_in(place, number):
        data = np.full(2**20, number, np.uint8)
        kept.append(weakref.ref(data))
        if number % 2:
            place.put_work(lambda: data[:12].reshape(2, 2, 3))
        else:
            place.put(data[:12].reshape(2, 2, 3))

    async def scene(batcher):
        first = await behind_a_running_batch(engine, batcher, [])
        for start in range(0, 60, 3):
            found = await asyncio.gather(*(ask(batcher, start + at) for at in range(3)), return_exceptions=True)
            assert {type(one) for one in found} == {TimeoutError}
            del found
        gc.collect()
        held = sum(ref() is not None for ref in kept)
        engine.gate.set()
        await asyncio.gather(*first)
        return held, await batcher.submit(image(7))

    held, later = play(engine, scene, max_queue=4)
    assert (held, number_of(later)) == (0, 7)
    assert engine.batches == [[0], [7]]


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


def test_a_batch_of_answers_leaves_the_event_loop_turns_for_others():
    engine, loop_turns = Engine(gated=True), []

    async def scene(batcher):
        tasks = await behind_a_running_batch(engine, batcher, range(1, 17))
        for task in tasks[1:]:
            task.add_done_callback(lambda _: loop_turns.append("answer"))

        def other() -> None:
            loop_turns.append("other")
            if not tasks[-1].done():
                asyncio.get_running_loop().call_soon(other)

        engine.gate.set()
        await tasks[0]
        other()
        await asyncio.gather(*tasks)

    play(engine, scene, max_batch=16)
    first = loop_turns.index("answer")
    assert loop_turns[first:].count("other") >= 16 / AT_ONCE - 1
