"""A worker takes up releases with a challenger: what stays the same is not loaded again, what fails harms nobody."""

import threading

import pytest

import bentos.releasing.takeup
from bentos.batching.lane import CANARY, CHAMPION, SHADOW
from tests.serving.challenger_stage import Stage, another, client, of_canary, playing, released
from vision.release import read_release


@pytest.fixture(scope="module")
def stage(state, made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("challenger") / "state"
    with playing(state, folder, lambda system: another(made, system, "taken up")) as found:
        yield found


@pytest.fixture
def single(stage: Stage):
    """The champion alone before and after the test, and no engine of a challenger."""
    stage.release("single")
    yield stage
    stage.release("single")


def lanes(stage: Stage):
    return stage.predictor.router.lanes


def counted(stage: Stage) -> list[str]:
    """Loads from now on, by package."""
    loaded, load = [], stage.books.take_up._load
    if hasattr(load, "loaded"):
        load.loaded.clear()
        return load.loaded

    def counting(served, route):
        loaded.append(served.package.package_sha)
        return load(served, route)

    counting.loaded = loaded
    stage.books.take_up._load = counting
    return loaded


def test_shadow_canary_promotion_and_the_way_back_load_each_package_once(single, draw):
    stage, loaded = single, counted(single)
    mine, champion = stage.challenger.package_sha, lanes(stage).champion
    shadow = stage.release("shadow")
    first = lanes(stage).challenger
    canary = stage.release("canary", 0.3)
    second = lanes(stage).challenger
    stage.release("canary", 0.5)
    assert loaded == [mine]
    assert (first.route, second.route, lanes(stage).challenger.route) == (SHADOW, CANARY, CANARY)
    assert first.batcher is second.batcher is lanes(stage).challenger.batcher
    assert (first.served.release, second.served.release) == (shadow, canary)
    assert lanes(stage).champion.batcher is champion.batcher
    promoted = stage.release("single", champion=stage.challenger)
    assert loaded == [mine]
    assert (lanes(stage).champion.batcher, lanes(stage).champion.route) == (first.batcher, CHAMPION)
    assert not champion.batcher._line._thread.is_alive()
    answer = stage.predict(draw("moss", 1), of_canary(0.5))
    assert (answer["model"]["version"], stage.records()[-1]["release_no"]) == (4, promoted.no)
    stage.release("single")
    assert loaded == [mine, stage.champion.package_sha]
    assert not first.batcher._line._thread.is_alive()


def test_health_version_and_release_show_the_challenger(single):
    stage = single
    stage.release("canary", 0.25)
    shown = {
        "version": 4, "package_sha": stage.challenger.package_sha, "mode": "canary", "share": 0.25, "refused": None,
    }  # fmt: skip
    assert stage.health()["challenger"] == shown
    assert stage.client.get("/model/version").json()["challenger"] == shown
    said = stage.client.get("/release").json()
    assert (said["mode"], said["challenger"]["version"], said["refused_challenger"]) == ("canary", 4, None)
    assert "salt" not in said
    stage.release("single")
    assert stage.client.get("/model/version").json()["challenger"] is None


def test_a_release_whose_champion_fails_is_refused_whole(single, made):
    stage = single
    sha = another(made, stage.system, "bad champion")
    with (stage.system / "packages" / sha / "model.onnx").open("r+b") as model:
        model.write(b"\x00")
    before = read_release(stage.system / "release.json").no
    stage.release("shadow", champion=released(8, sha))
    assert lanes(stage).release.no == before
    assert lanes(stage).challenger is None
    assert "has changed" in stage.health()["refused_release"]["reason"]


def test_an_engine_that_hangs_does_not_keep_the_worker_from_the_next_release(single, draw, monkeypatch):
    stage, gate = single, threading.Event()
    monkeypatch.setattr(bentos.releasing.takeup, "CLOSE_S", 0.1)
    stage.release("shadow")
    line = lanes(stage).challenger.batcher._line
    run = line._run
    line._run = lambda images: gate.wait(20) and run(images)
    stage.rested()
    stage.predict(draw("moss", 1), client("key-1"))
    stage.release("single")
    assert lanes(stage).challenger is None
    stage.release("single", champion=stage.champion)
    assert stage.health()["release_no"] == read_release(stage.system / "release.json").no
    gate.set()
    stage.settle()
