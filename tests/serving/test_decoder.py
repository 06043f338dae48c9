"""Decoding: beside the engine or in its thread, never in the event loop; bad, huge and forsaken images alone."""

import asyncio
import contextlib
import io
import math
import threading
import time

import numpy as np
import pytest
from PIL import Image

import bentos.batching.decoder
from bentos.batching.decoder import ENGINE_BYTES, LARGE_PIXELS
from tests.serving.batcher_stage import PATIENCE_S, Engine
from tests.serving.decoder_stage import INPUT, Stage, asked_together, play
from vision.preprocess import ImageError, open_header, preprocess


def picture(size_px: tuple[int, int]) -> bytes:
    """A PNG of one colour: many pixels in few bytes."""
    buffer = io.BytesIO()
    Image.new("L", size_px, 90).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def huge() -> bytes:
    return picture((6000, 6000))


@pytest.fixture
def threads(monkeypatch) -> list[str]:
    """The name of the thread that reads each header."""
    seen = []

    def open_and_tell(*args):
        seen.append(threading.current_thread().name)
        return open_header(*args)

    monkeypatch.setattr(bentos.batching.decoder, "open_header", open_and_tell)
    return seen


@pytest.mark.parametrize("beside", [True, False])
def test_a_bad_image_among_good_ones_fails_alone_and_each_gets_its_own_answer(draw, beside):
    good = [draw("moss", seed) for seed in range(8)]
    bad = [b"no image", draw("moss", 3)[:300], b""]
    found = play(Stage(beside=beside), asked_together(*good[:4], *bad, *good[4:]))
    reasons = [error.reason for error in found[4:7]]
    assert reasons == ["unknown_format", "truncated", "empty"]
    for data, (decoded, batched, image) in zip(good, found[:4] + found[7:], strict=True):
        assert decoded.size_px == (72, 56)
        assert (image == preprocess(data, INPUT)).all()
        assert batched.outputs["sum"] == image.sum()


def test_bad_bytes_in_one_batch_with_good_ones_leave_the_batch_to_them(draw):
    """The engine is held up until all wait, so that they are one batch."""
    sizes, gate, started = [], threading.Event(), threading.Event()

    def run(images: np.ndarray):
        sizes.append(len(images))
        started.set()
        assert gate.wait(PATIENCE_S)
        return {"sum": images.sum((1, 2, 3))}

    async def scene(stage: Stage):
        first = asyncio.create_task(stage.ask(draw("slate", 0)))
        assert await asyncio.to_thread(started.wait, PATIENCE_S)
        images = [draw("moss", 1), b"no image", draw("moss", 2), b"nor this"]
        rest = [asyncio.create_task(stage.ask(data)) for data in images]
        await asyncio.sleep(0)
        gate.set()
        return await asyncio.gather(first, *rest, return_exceptions=True)

    found = play(Stage(run), scene)
    assert sizes == [1, 2]
    assert [isinstance(item, ImageError) for item in found] == [False, False, True, False, True]
    assert [found[place][1].batch_size for place in (1, 3)] == [2, 2]


def test_one_core_decodes_in_the_engines_thread(threads, draw):
    play(Stage(), asked_together(draw("moss", 1), draw("moss", 2)))
    assert threads == ["engine", "engine"]


def test_where_a_core_is_spare_images_are_decoded_beside_the_engine(threads, draw):
    play(Stage(beside=True), asked_together(draw("moss", 1)))
    assert threads == ["decode_0"]


def test_an_image_that_is_described_is_decoded_beside_the_engine(threads, draw):
    [(decoded, _, _)] = play(Stage(features_share=0.01), asked_together(draw("moss", 1)))
    assert threads == ["decode_0"]
    assert not math.isnan(decoded.features["brightness"])


def test_a_large_file_is_decoded_beside_the_engine(threads):
    noise = np.random.default_rng(0).integers(0, 255, (700, 700, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    assert len(buffer.getvalue()) > ENGINE_BYTES
    play(Stage(), asked_together(buffer.getvalue()))
    assert threads == ["decode_0"]


def test_a_small_file_of_many_pixels_goes_from_the_engine_to_the_threads_and_is_answered(threads):
    data = picture((2000, 2000))
    assert len(data) < ENGINE_BYTES
    [(decoded, batched, image)] = play(Stage(), asked_together(data))
    assert threads == ["engine", "decode_0"]
    assert decoded.size_px == (2000, 2000)
    assert batched.outputs["sum"] == image.sum()


def test_a_progressive_photo_counts_as_large_where_another_does_not(threads):
    for progressive, names in ((False, ["engine"]), (True, ["engine", "decode_0"])):
        threads.clear()
        buffer = io.BytesIO()
        Image.new("RGB", (1200, 900), (90, 120, 60)).save(buffer, "JPEG", progressive=progressive)
        [(decoded, _, _)] = play(Stage(), asked_together(buffer.getvalue()))
        assert (threads, decoded.size_px) == (names, (1200, 900))


def test_who_leaves_before_their_turn_is_not_decoded_and_harms_nobody(threads, draw):
    engine = Engine(gated=True)

    async def scene(stage: Stage):
        first = asyncio.create_task(stage.ask(draw("slate", 0)))
        assert await asyncio.to_thread(engine.started.wait, PATIENCE_S)
        rest = [asyncio.create_task(stage.ask(draw("moss", seed))) for seed in range(3)]
        await asyncio.sleep(0)
        rest[1].cancel()
        await asyncio.sleep(0)
        engine.gate.set()
        found = await asyncio.gather(first, *rest, return_exceptions=True)
        return found, stage.batcher.held

    found, held = play(Stage(engine.run), scene)
    assert [isinstance(item, asyncio.CancelledError) for item in found] == [False, False, True, False]
    assert len(threads) == 3
    assert held == 0


def test_who_leaves_while_their_image_is_decoded_gives_the_place_back_and_harms_nobody(monkeypatch, draw):
    decoding, gate = threading.Event(), threading.Event()

    def slow(*args):
        decoding.set()
        assert gate.wait(PATIENCE_S)
        return open_header(*args)

    monkeypatch.setattr(bentos.batching.decoder, "open_header", slow)

    async def scene(stage: Stage):
        leaving, staying = (asyncio.create_task(stage.ask(draw("moss", seed))) for seed in (1, 2))
        assert await asyncio.to_thread(decoding.wait, PATIENCE_S)
        leaving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await leaving
        held = stage.batcher.held
        gate.set()
        return held, await staying

    held, (decoded, _, image) = play(Stage(), scene)
    assert held == 1
    assert decoded.size_px == (72, 56)
    assert (image == preprocess(draw("moss", 2), INPUT)).all()


def test_closing_answers_images_that_still_wait_to_be_decoded(draw):
    async def scene(stage: Stage):
        tasks = [asyncio.create_task(stage.ask(draw("moss", seed))) for seed in range(20)]
        await asyncio.sleep(0)
        await stage.batcher.close()
        return [task.result()[0].size_px for task in tasks]

    assert play(Stage(), scene) == [(72, 56)] * 20


@pytest.mark.parametrize("beside", [True, False])
def test_what_an_answer_took_is_decoding_waiting_and_computing(monkeypatch, draw, beside):
    """Decoding in the engine's thread is not counted as waiting: it is made slow enough to tell on a busy machine."""
    loop_time = {}

    def slow(*args):
        time.sleep(0.5)
        return open_header(*args)

    monkeypatch.setattr(bentos.batching.decoder, "open_header", slow)

    async def scene(stage: Stage):
        loop_time["start"] = asyncio.get_running_loop().time()
        decoded, batched, _ = await stage.ask(draw("moss", 1, size_px=(900, 900)))
        loop_time["took"] = asyncio.get_running_loop().time() - loop_time["start"]
        return decoded, batched

    decoded, batched = play(Stage(beside=beside), scene)
    parts_s = decoded.decode_s + (batched.queue_ms + batched.compute_ms) / 1000
    assert decoded.decode_s >= 0.5
    assert 0 <= batched.queue_ms / 1000 < 0.5
    assert parts_s <= loop_time["took"]


def test_a_huge_image_does_not_hold_up_a_small_one(huge, draw):
    async def scene(stage: Stage):
        order = []

        async def ask(name: str, data: bytes) -> None:
            await stage.ask(data)
            order.append(name)

        await asyncio.gather(
            *(ask("huge", huge) for _ in range(3)), *(ask("small", draw("moss", seed)) for seed in range(5))
        )
        return order

    assert play(Stage(), scene) == ["small"] * 5 + ["huge"] * 3


def test_huge_images_cannot_take_all_places(huge, draw):
    *found, small = play(Stage(places=4, beside=True), asked_together(*[huge] * 4, draw("moss", 1)))
    assert [type(item).__name__ for item in found] == ["tuple", "tuple", "Overloaded", "Overloaded"]
    assert small[0].size_px == (72, 56)
    assert math.prod(found[0][0].size_px) > LARGE_PIXELS


def test_bad_images_do_not_use_up_what_good_ones_are_described_with(draw):
    async def scene(stage: Stage):
        bad = await asyncio.gather(*(stage.ask(b"no image") for _ in range(50)), return_exceptions=True)
        return bad, await stage.ask(draw("moss", 1))

    bad, (decoded, _, _) = play(Stage(features_share=0.0001), scene)
    assert all(isinstance(item, ImageError) for item in bad)
    assert not math.isnan(decoded.features["brightness"])
