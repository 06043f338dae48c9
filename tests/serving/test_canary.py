"""A challenger that answers some clients: its answers are its own, its failures are the champion's to mend."""

import threading

import pytest

from bentos.batching.batcher import Overloaded
from bentos.batching.lane import CANARY, CHAMPION, Lane
from bentos.releasing.canary import Canary
from tests.serving.challenger_stage import Stage, another, client, of_canary, playing
from vision.preprocess import ImageError

SHARE = 0.3
LABELS = ("ash", "birch", "cedar")
"""The challenger's own."""


@pytest.fixture(scope="module")
def stage(state, made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("canary") / "state"
    with playing(state, folder, lambda system: another(made, system, "canary", labels=LABELS)) as found:
        found.release("canary", SHARE)
        yield found


@pytest.fixture
def broken(stage: Stage):
    """Sets what the challenger's engine does for one test."""
    line = stage.lane().batcher._line
    run = line._run
    yield lambda instead: setattr(line, "_run", instead)
    line._run = run


def test_sticky_clients_are_answered_by_the_challenger_and_records_say_so(stage, made, draw):
    for number in range(20):
        asks = client(f"key-{number}")
        wanted = stage.predictor.router.lane_of(asks)
        answers = [stage.predict(draw("moss", seed), asks) for seed in range(2)]
        for answer in answers:
            assert answer["model"] == wanted.info
            assert answer["label"] == ("birch" if wanted.route == CANARY else "moss")
            record = next(row for row in stage.records() if row["id"] == answer["prediction_id"])
            assert (record["route"], record["package_sha"]) == (wanted.route, wanted.info["package_sha"])
            assert record["model_version"] == wanted.info["version"]
            assert (record["release_no"], record["pair_id"]) == (1, None)
    assert {row["route"] for row in stage.records()} == {CHAMPION, CANARY}
    assert stage.value("lane_answers_total", route=CANARY) == len(stage.records(CANARY))


def test_feedback_passport_and_heatmap_of_a_canarys_answer_are_its_own(stage, draw, monkeypatch):
    made_id = stage.predict(draw("slate", 1), of_canary(SHARE))["prediction_id"]
    said = stage.client.post("/feedback", json={"id": made_id, "label": "cedar"})
    assert (said.status_code, said.json()["right"]) == (200, True)
    assert stage.client.post("/feedback", json={"id": made_id, "label": "slate"}).status_code == 422
    passport = stage.client.get(f"/predictions/{made_id}/lineage").json()
    assert (passport["model"]["version"], passport["model"]["route"]) == (4, CANARY)
    assert passport["training"] == {"data": "drawn"}
    explained = []
    monkeypatch.setattr(Lane, "explain", lambda lane, data: explained.append(lane.route) or b"png")
    for wanted in (True, False):
        stage.client.portal.call(stage.predictor.explain, draw("moss", 1), of_canary(SHARE, wanted))
    stage.predict(draw("moss", 1), of_canary(SHARE), explain=True)
    assert explained == [CANARY, CHAMPION, CANARY]


def test_the_api_says_that_a_canary_may_answer_with_its_own_labels(stage):
    schema = stage.client.get("/openapi.json").json()["components"]["schemas"]["Prediction"]
    assert [one["properties"]["label"]["enum"] for one in schema["anyOf"]] == [["amber", "moss", "slate"], [*LABELS]]


def test_an_answer_that_is_no_number_is_a_failure(stage, draw, broken):
    run = stage.lane().batcher._line._run
    broken(lambda images: {name: values * float("nan") for name, values in run(images).items()})
    assert stage.predict(draw("moss", 3), of_canary(SHARE))["label"] == "moss"
    assert "not finite" in stage.failures()[-1].error


def test_a_bad_image_is_nobodys_failure(stage):
    before = len(stage.failures())
    with pytest.raises(ImageError):
        stage.predict(b"no image", of_canary(SHARE))
    assert len(stage.failures()) == before


def test_a_full_canary_sends_its_clients_to_the_champion_and_is_no_failure(stage, draw, monkeypatch):
    before = len(stage.failures()), stage.value("challenger_dropped_total", route=CANARY)
    batcher = stage.lane().batcher
    monkeypatch.setattr(batcher, "held", batcher.max_queue)
    stage.client.portal.call(stage.predictor.check_room, 2, of_canary(SHARE))
    assert stage.predict(draw("moss", 3), of_canary(SHARE))["label"] == "moss"
    assert (len(stage.failures()), stage.value("challenger_dropped_total", route=CANARY)) == (before[0], before[1] + 1)
    champion = stage.predictor.lane.batcher
    monkeypatch.setattr(champion, "held", champion.max_queue)
    with pytest.raises(Overloaded):
        stage.predict(draw("moss", 3), of_canary(SHARE))
    assert len(stage.failures()) == before[0]


def test_a_failure_counts_although_the_champion_has_no_room_either(stage, draw, broken, monkeypatch):
    before = len(stage.failures()), stage.value("challenger_failures_total", route=CANARY)
    broken(fail)
    champion = stage.predictor.lane.batcher
    with monkeypatch.context() as patch, pytest.raises(Overloaded):
        patch.setattr(champion, "held", champion.max_queue)
        stage.predict(draw("moss", 3), of_canary(SHARE))
    (failure,) = stage.failures()[before[0] :]
    assert (failure.id, failure.route, failure.error) == (None, CANARY, "RuntimeError: broken")
    assert stage.value("challenger_failures_total", route=CANARY) == before[1] + 1


def test_an_image_that_both_fail_on_says_nothing_of_the_challenger(stage, draw, broken, monkeypatch):
    before = len(stage.failures())
    broken(fail)
    monkeypatch.setattr(stage.predictor.lane.batcher._line, "_run", fail)
    with pytest.raises(RuntimeError):
        stage.predict(draw("moss", 3), of_canary(SHARE))
    assert len(stage.failures()) == before


def fail(images):
    raise RuntimeError("broken")


def test_a_canary_that_hangs_leaves_the_champion_time_to_answer(stage, draw, broken, monkeypatch):
    gate, run = threading.Event(), stage.lane().batcher._line._run
    monkeypatch.setattr(stage.predictor, "_canary", Canary(stage.predictor.router, 0.3, stage.predictor.told))
    broken(lambda images: gate.wait(20) and run(images))
    assert stage.predict(draw("moss", 3), of_canary(SHARE))["label"] == "moss"
    gate.set()
    assert stage.failures()[-1].error == "TimeoutError"
    assert stage.lane().batcher.held == 0
