"""From bytes to answer and record, without a server: order of record and answer, decoding apart, swapping lanes."""

import asyncio
import threading
from dataclasses import replace

import numpy as np
import pytest
from starlette.testclient import TestClient

from bentos.batching.batcher import Batcher, Overloaded
from bentos.batching.lane import Lane, open_lane
from bentos.hooks import Asked, Client
from bentos.http.app import attach, create_app
from bentos.predictor import Predictor
from bentos.releasing.router import Lanes
from bentos.releasing.source import open_served
from configs.serving import ServingConfig
from vision.data.features import FEATURES, describe
from vision.preprocess import ImageError
from vision.records import Record, record_line


@pytest.fixture(scope="module")
def served(state):
    return open_served(state / "systems" / "quickstart" / "release.json")


@pytest.fixture(scope="module")
def engine(served):
    lane = open_lane(served)
    asyncio.run(lane.close())
    return lane.engine


class Recorder:
    def __init__(self) -> None:
        self.records = []

    def append(self, fields) -> None:
        self.records.append(fields)


def lane_of(served, engine, run=None) -> Lane:
    return Lane(served, engine, Batcher(run or engine.predict, 4, served.serving.max_queue))


def play(served, engine, scene, run=None, recorder=None):
    async def main():
        predictor = Predictor(lane_of(served, engine, run), recorder)
        try:
            return await scene(predictor)
        finally:
            await predictor.close()

    return asyncio.run(main())


def test_the_record_is_there_before_the_answer_and_holds_what_was_answered(served, engine, draw):
    recorder, data = Recorder(), draw("moss", 4)
    client = Client("key-1", "0123456789abcdef", frozenset({"predict"}))

    async def scene(predictor):
        return await predictor.predict(data, Asked(top_k=2, client=client))

    answer = play(served, engine, scene, recorder=recorder)
    [fields] = recorder.records
    record = Record.model_validate_json(record_line(fields))
    assert record.id == answer["prediction_id"]
    assert (record.package_sha, record.model_version, record.release_no) == (served.package.package_sha, 3, 0)
    assert (record.route, record.client_hash, record.batch_size) == ("champion", "0123456789abcdef", 1)
    assert record.answer == {"label": "moss", "predictions": answer["predictions"]}
    assert (record.confidence, record.confident) == (answer["confidence"], True)
    assert len(record.embedding) == 32
    known = describe(data)
    assert record.features == {name: pytest.approx(known[name], rel=1e-3) for name in FEATURES}


def test_an_answer_whose_image_was_not_described_still_has_its_record(served, engine, draw):
    recorder = Recorder()
    quiet = replace(served, serving=served.serving.model_copy(update={"features_share": 0.0}))

    async def scene(predictor):
        return await predictor.predict(draw("moss", 4), Asked())

    play(quiet, engine, scene, recorder=recorder)
    record = Record.model_validate_json(record_line(recorder.records[0]))
    assert record.features == dict.fromkeys(FEATURES)


def test_a_bad_image_leaves_no_record_and_gives_its_place_back(served, engine):
    recorder = Recorder()

    async def scene(predictor):
        with pytest.raises(ImageError):
            await predictor.predict(b"no image", Asked())
        return predictor.lane.batcher.held

    assert play(served, engine, scene, recorder=recorder) == 0
    assert recorder.records == []


def test_overload_is_told_before_the_image_is_decoded(served, engine, draw):
    busy = replace(served, serving=served.serving.model_copy(update={"max_queue": 1, "max_images": 1}))

    async def scene(predictor):
        with predictor.lane.batcher.reserve(), pytest.raises(Overloaded):
            await predictor.predict(b"no image, and nobody finds out", Asked())
        return await predictor.predict(draw("slate", 1), Asked())

    assert play(busy, engine, scene)["label"] == "slate"


def test_who_asked_before_a_swap_is_answered_by_the_old_lane(served, engine, draw):
    gate, started = threading.Event(), threading.Event()

    def slow(images: np.ndarray):
        started.set()
        assert gate.wait(10)
        return engine.predict(images)

    newer = replace(served, release=served.release.model_copy(update={"no": 1}))
    recorder = Recorder()

    async def scene(predictor):
        before = asyncio.create_task(predictor.predict(draw("moss", 1), Asked()))
        assert await asyncio.to_thread(started.wait, 10)
        old = predictor.router.swap(Lanes(newer.release, lane_of(newer, engine))).champion
        after = await predictor.predict(draw("amber", 1), Asked())
        closing = asyncio.create_task(old.close())
        await asyncio.sleep(0.01)
        assert not closing.done()
        gate.set()
        await closing
        return (await before)["label"], after["label"]

    assert play(served, engine, scene, run=slow, recorder=recorder) == ("moss", "amber")
    assert [fields["release_no"] for fields in recorder.records] == [1, 0]


def test_an_engine_that_hangs_is_told_in_time_and_its_place_is_free_again(served, engine, draw):
    gate = threading.Event()
    hasty = replace(served, serving=ServingConfig(request_timeout_s=0.2))

    def hang(images: np.ndarray):
        assert gate.wait(10)
        return engine.predict(images)

    predictor = Predictor(lane_of(hasty, engine, hang))
    app = create_app()
    attach(app, predictor, None)
    with TestClient(app) as client:
        response = client.post("/predict", files={"file": draw("moss", 1)})
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        assert predictor.lane.batcher.held == 0
        gate.set()
        assert client.post("/predict", files={"file": draw("moss", 1)}).status_code == 200


def test_a_busy_server_answers_429_with_the_seconds_to_wait(served, engine, draw):
    predictor = Predictor(lane_of(served, engine))
    app = create_app()
    attach(app, predictor, None)
    predictor.lane.batcher.held = predictor.lane.batcher.max_queue
    with TestClient(app) as client:
        response = client.post("/predict", files={"file": draw("moss", 1)})
        assert response.status_code == 429
        assert int(response.headers["retry-after"]) >= 1
        parts = [("file", draw("moss", 1))] * 2
        assert client.post("/predict", files=parts).status_code == 429
        predictor.lane.batcher.held = 0
        assert client.post("/predict", files=parts).status_code == 200


def test_a_busy_server_refuses_before_it_reads_the_body(served, engine):
    async def scene(predictor):
        app, sent = create_app(), []
        attach(app, predictor, None)
        predictor.lane.batcher.held = predictor.lane.batcher.max_queue

        async def receive():
            raise AssertionError("the body was read")

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/predict", "query_string": b"", "headers": []}
        await app(scope, receive, send)
        predictor.lane.batcher.held = 0
        return sent[0]

    start = play(served, engine, scene)
    assert start["status"] == 429
    assert b"retry-after" in dict(start["headers"])
