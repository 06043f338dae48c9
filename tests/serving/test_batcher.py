"""The batcher alone: order, caps, cancelled clients, faults. Plain asyncio, no server, no model."""

import asyncio

import numpy as np
import pytest

from bentos.batching.batcher import Batcher
from tests.serving.batcher_stage import Engine, behind_a_running_batch, image, number_of, play


def test_a_lone_image_is_answered_alone_and_at_once():
    engine = Engine()

    async def scene(batcher):
        return await batcher.submit(image(7))

    found = play(engine, scene)
    assert (number_of(found), found.batch_size) == (7, 1)
    assert found.outputs["logits"].shape == (1,)
    assert found.queue_ms >= 0
    assert found.compute_ms >= 0


def test_what_waits_while_the_engine_is_busy_goes_together_in_order_and_capped():
    engine = Engine(gated=True)

    async def scene(batcher):
        tasks = await behind_a_running_batch(engine, batcher, range(1, 11))
        engine.gate.set()
        return await asyncio.gather(*tasks)

    found = play(engine, scene)
    assert [number_of(item) for item in found] == list(range(11))
    assert engine.batches == [[0], [1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]
    assert [item.batch_size for item in found[1:6]] == [4, 4, 4, 4, 4]


def test_a_thousand_images_at_once_each_get_their_own_answer():
    engine = Engine()

    async def scene(batcher):
        return await asyncio.gather(*(batcher.submit(image(number % 251)) for number in range(1000)))

    assert [number_of(item) for item in play(engine, scene, 16, 1000)] == [number % 251 for number in range(1000)]
    assert sum(map(len, engine.batches)) == 1000
    assert max(map(len, engine.batches)) <= 16


def test_a_late_client_is_not_overtaken_by_one_that_sends_without_end():
    """Fairness: who comes has at most the images before him to wait for."""
    engine = Engine(gated=True)

    async def scene(batcher):
        greedy = await behind_a_running_batch(engine, batcher, [1] * 20)
        late = asyncio.create_task(batcher.submit(image(99)))
        await asyncio.sleep(0)
        greedy += [asyncio.create_task(batcher.submit(image(1))) for _ in range(40)]
        engine.gate.set()
        await asyncio.gather(late, *greedy)

    play(engine, scene)
    turn = next(index for index, batch in enumerate(engine.batches) if 99 in batch)
    assert turn == 6  # one batch was running; 20 images before it fill five


def test_the_engine_failing_on_one_image_fails_that_one_alone():
    engine = Engine(bad=(3,), gated=True)

    async def scene(batcher):
        tasks = await behind_a_running_batch(engine, batcher, [1, 2, 3, 4])
        engine.gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = play(engine, scene)
    assert [number_of(item) for item in (found[0], found[1], found[2], found[4])] == [0, 1, 2, 4]
    assert isinstance(found[3], ValueError)
    assert "[3]" in str(found[3])
    assert found[1].batch_size == 1


def test_the_batcher_outlives_an_engine_that_fails_on_everything():
    engine = Engine(bad=(1,))

    async def scene(batcher):
        for _ in range(3):
            with pytest.raises(ValueError, match="bad image"):
                await batcher.submit(image(1))
        return await batcher.submit(image(2))

    assert number_of(play(engine, scene)) == 2


def test_an_engine_that_loses_rows_is_a_fault_and_not_someone_elses_answer():
    async def scene():
        batcher = Batcher(lambda images: {"logits": np.zeros((len(images) + 1, 3))}, 4, 4)
        with pytest.raises(ValueError, match="for 1 images"):
            await batcher.submit(image(1))
        await batcher.close()

    asyncio.run(scene())


def test_cancelled_clients_are_dropped_before_the_batch_and_harm_nobody():
    engine = Engine(gated=True)

    async def scene(batcher):
        tasks = await behind_a_running_batch(engine, batcher, [1, 2, 3, 4, 5])
        for task in (tasks[1], tasks[3], tasks[5]):
            task.cancel()
        await asyncio.sleep(0)
        held = batcher.held
        engine.gate.set()
        return held, await asyncio.gather(*tasks, return_exceptions=True)

    held, found = play(engine, scene)
    assert held == 3
    assert engine.batches == [[0], [2, 4]]
    assert [number_of(found[index]) for index in (0, 2, 4)] == [0, 2, 4]
    assert all(isinstance(found[index], asyncio.CancelledError) for index in (1, 3, 5))


def test_a_client_that_leaves_while_its_batch_runs_harms_nobody():
    engine = Engine(gated=True)

    async def scene(batcher):
        tasks = await behind_a_running_batch(engine, batcher, [1])
        tasks[0].cancel()
        await asyncio.sleep(0)
        engine.gate.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        return found, await batcher.submit(image(8))

    (first, second), later = play(engine, scene)
    assert isinstance(first, asyncio.CancelledError)
    assert (number_of(second), number_of(later)) == (1, 8)
