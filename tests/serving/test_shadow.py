"""A challenger in shadow answers for the records alone, one image at a time, and what it does harms nobody."""

import time

import pytest

from bentos.batching.lane import CHAMPION, SHADOW
from tests.serving.challenger_stage import Stage, another, client, of_canary, playing, with_larger_input


@pytest.fixture(scope="module")
def stage(state, made, draw, tmp_path_factory):
    base = tmp_path_factory.mktemp("shadow")
    with playing(state, base / "state", lambda system: with_larger_input(made, system, base / "larger", draw)) as found:
        found.release("shadow")
        yield found


@pytest.fixture
def same(stage: Stage, made):
    """A challenger that wants the same pixels; the larger one is back after the test."""
    yield stage.release("shadow", challenger={**stage.challenger.model_dump(), **_same(stage, made)})
    stage.release("shadow")


def _same(stage, made) -> dict:
    sha = another(made, stage.system, "same input")
    return {"version": 5, "package_sha": sha, "uri": f"packages/{sha}"}


def pair(stage: Stage, answer: dict) -> dict:
    stage.settle()
    [found] = [row for row in stage.records(SHADOW) if row["pair_id"] == answer["prediction_id"]]
    return found


def ask(stage: Stage, data: bytes, **more) -> dict:
    stage.settle()
    stage.rested()
    return stage.predict(data, client("key-1"), **more)


def test_both_answers_are_on_record_and_only_the_champions_is_returned(stage, same, draw):
    answered, counted = stage.value("lane_answers_total", route=SHADOW), stage.value("predictions_total", label="moss")
    answer = ask(stage, draw("moss", 1))
    assert answer["model"]["version"] == 3
    shadow, champion = pair(stage, answer), stage.records(CHAMPION)[-1]
    assert champion["id"] == answer["prediction_id"] != shadow["id"]
    assert (shadow["package_sha"], shadow["model_version"]) == (same.challenger.package_sha, 5)
    assert shadow["answer"] == champion["answer"]  # The same network on the same pixels.
    assert shadow["embedding"] == champion["embedding"]
    assert shadow["agrees"] is True and "agrees" not in champion
    assert (shadow["features"], shadow["client_hash"]) == (champion["features"], "hash of key-1")
    assert shadow["release_no"] == champion["release_no"] == same.no
    assert stage.value("lane_answers_total", route=SHADOW) == answered + 1
    assert stage.value("predictions_total", label="moss") == counted + 1


def test_a_challenger_of_another_input_size_sees_its_own_pixels(stage, draw):
    answer = ask(stage, draw("slate", 2))
    shadow, champion = pair(stage, answer), stage.records(CHAMPION)[-1]
    assert shadow["answer"]["label"] == champion["answer"]["label"] == "slate"
    assert shadow["embedding"] != champion["embedding"]
    assert stage.lane().spec.input.side_px == 48


def test_a_shadow_takes_no_more_than_its_part_of_the_time(stage, draw):
    ask(stage, draw("moss", 1))
    shadow = stage.predictor._shadow
    start_s = time.monotonic()
    stage.settle()
    now_s = time.monotonic()
    assert shadow._rests_until_s > now_s - (now_s - start_s)
    shadow._rests_until_s = time.monotonic() + 60
    dropped = stage.value("challenger_dropped_total", route=SHADOW)
    stage.predict(draw("moss", 1), client("key-1"))
    assert stage.value("challenger_dropped_total", route=SHADOW) == dropped + 1


def test_under_pressure_nothing_is_compared(stage, draw, monkeypatch):
    stage.settle()
    stage.rested()
    batcher = stage.predictor.lane.batcher
    monkeypatch.setattr(batcher, "held", batcher.max_queue // 2)
    dropped = stage.value("challenger_dropped_total", route=SHADOW)
    stage.predict(draw("moss", 1), client("key-1"))
    assert stage.value("challenger_dropped_total", route=SHADOW) == dropped + 1


def test_a_challenger_that_fails_on_every_image_is_written_down_and_nobody_notices(stage, draw):
    def fails(_):
        raise RuntimeError("no kernel")

    line = stage.lane().batcher._line
    run, before, errors = line._run, len(stage.failures()), stage.value("engine_errors_total")
    line._run = fails
    answers = [ask(stage, draw("amber", seed)) for seed in range(3)]
    stage.settle()
    line._run = run
    assert {answer["label"] for answer in answers} == {"amber"}
    failures = stage.failures()[before:]
    assert [one.id for one in failures] == [answer["prediction_id"] for answer in answers]
    assert {(one.route, one.error) for one in failures} == {(SHADOW, "RuntimeError: no kernel")}
    assert stage.value("engine_errors_total") == errors


def test_a_challenger_that_is_taken_back_meanwhile_leaves_no_failure(stage, draw):
    before = len(stage.failures())
    ask(stage, draw("moss", 1))
    stage.release("single")
    stage.settle()
    assert stage.lane() is None
    assert stage.predict(draw("moss", 2), of_canary(0.5))["model"]["version"] == 3
    assert len(stage.failures()) == before
    stage.release("shadow")
