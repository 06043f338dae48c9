"""A challenger that is broken in any way is the champion's chance, never a client's loss."""

import importlib
import shutil
import threading

import pytest

from tests.serving.challenger_stage import Stage, another, client, of_canary, playing, released

SHARE = 0.3
SEEN = "`/health` and a failure line say so, the champion answers every client"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A state folder with a champion, and what its package was made of."""
    own = importlib.import_module("tests.serving.conftest")
    base = tmp_path_factory.getbasetemp()
    return own.released(base), own.make_package(base)


@pytest.fixture(scope="module")
def stage(tiny, tmp_path_factory):
    state, made = tiny
    folder = tmp_path_factory.mktemp("challengers") / "state"
    with playing(state, folder, lambda system: another(made, system, "faults")) as found:
        yield found


@pytest.fixture
def draw():
    return importlib.import_module("tests.serving.conftest").draw


def damaged(folder) -> None:
    with (folder / "model.onnx").open("r+b") as model:
        model.write(b"\x00")


@pytest.mark.parametrize(("harm", "what"), [(damaged, "damaged"), (shutil.rmtree, "missing")])
def test_a_challenger_that_cannot_be_loaded_is_refused_and_the_champion_goes_on(stage, tiny, draw, fault, harm, what):
    before, sha = len(stage.failures()), another(tiny[1], stage.system, harm.__name__)
    folder = stage.system / "packages" / sha
    shutil.copytree(folder, stage.system / "whole")
    harm(folder)
    release = stage.release("canary", 1.0, challenger=released(7, sha))
    answer = stage.predict(draw("moss", 1), client("key-1"))
    assert (answer["label"], answer["model"]["version"]) == ("moss", 3)
    assert (stage.records()[-1]["release_no"], stage.records()[-1]["route"]) == (release.no, "champion")
    said = stage.health()
    assert (said["status"], said["release_no"], said["refused_release"]) == ("degraded", release.no, None)
    reason = said["challenger"]["refused"]["reason"]
    assert str(stage.state) not in stage.client.get("/health").text  # It is open.
    look_again(stage, 3)
    [failure] = stage.failures()[before:]
    assert (failure.route, failure.release_no, failure.package_sha) == ("load", release.no, sha)
    assert (failure.id, failure.error) == (None, reason)
    shutil.rmtree(folder, ignore_errors=True)
    (stage.system / "whole").rename(folder)
    look_again(stage)
    assert stage.predict(draw("moss", 1), client("key-1"))["model"]["version"] == 7
    assert stage.health()["status"] == "ok"
    fault.saw(
        "Release", f"the challenger's package is {what}", exit="–", says=reason,
        kept=f"{SEEN}; once the package is whole the challenger is taken up",
    )  # fmt: skip


def look_again(stage: Stage, times: int = 1) -> None:
    for _ in range(times):
        stage.books.take_up.refused_challenger.again_s = 0.0
        stage.look()


def test_where_the_challenger_fails_the_champion_answers_and_the_failure_is_written_down(stage, draw, fault):
    def fails(_):
        raise RuntimeError("no such\nkernel")

    release, before, errors = stage.release("canary", SHARE), len(stage.failures()), stage.value("engine_errors_total")
    line = stage.lane().batcher._line
    run, line._run = line._run, fails
    answers = [stage.predict(draw("moss", seed), of_canary(SHARE)) for seed in range(5)]
    line._run = run
    assert {(answer["label"], answer["model"]["version"]) for answer in answers} == {("moss", 3)}
    failures = stage.failures()[before:]
    assert [failure.id for failure in failures] == [answer["prediction_id"] for answer in answers]
    assert {(one.route, one.release_no, one.model_version) for one in failures} == {("canary", release.no, 4)}
    assert {one.package_sha for one in failures} == {stage.challenger.package_sha}
    assert {row["route"] for row in stage.records()[-5:]} == {"champion"}
    assert stage.value("challenger_failures_total", route="canary") >= 5
    assert stage.value("engine_errors_total") == errors
    [said] = {one.error for one in failures}
    fault.saw(
        "Release", "a canary fails on every image", exit="200", says=said,
        kept="the champion answers the canary's clients; each failure has the id of its answer",
    )  # fmt: skip


def test_a_challenger_that_hangs_in_shadow_delays_nobody(stage, draw, fault):
    stage.release("shadow")
    stage.rested()
    line, gate, pairs = stage.lane().batcher._line, threading.Event(), len(stage.records("shadow"))
    run, dropped = line._run, stage.value("challenger_dropped_total", route="shadow")
    line._run = lambda images: gate.wait(60) and run(images)
    assert {stage.predict(draw("moss", seed), client("key-1"))["label"] for seed in range(30)} == {"moss"}
    assert (stage.lane().batcher.held, stage.predictor.router.lanes.held) == (1, 0)
    gate.set()
    stage.settle()
    line._run = run
    assert len(stage.records("shadow")) == pairs + 1
    assert stage.value("challenger_dropped_total", route="shadow") == dropped + 29
    fault.saw(
        "Release", "a challenger in shadow does not come to an end", exit="200", says="",
        kept="one image waits for it, the others are answered without it and counted as dropped",
    )  # fmt: skip


def test_a_worker_that_missed_releases_follows_the_last_one_and_says_so(stage, draw, fault):
    before = stage.release("single").no
    for mode, share in (("shadow", 0.0), ("canary", 0.2), ("canary", 1.0)):
        stage.release(mode, share, look=False)
    stage.predict(draw("moss", 1), client("key-1"))
    assert stage.records()[-1]["release_no"] == before
    assert stage.look() is True
    stage.predict(draw("moss", 1), client("key-1"))
    record = stage.records()[-1]
    assert (record["release_no"], record["route"]) == (before + 3, "canary")
    assert stage.look() is False
    fault.saw(
        "Release", "a worker misses three releases", exit="200", says="",
        kept="every record names the release that it was answered under; the worker goes to the last one at once",
    )  # fmt: skip


def test_a_service_restarted_in_mid_canary_sends_every_client_where_it_was(stage, draw, fault):
    stage.release("canary", SHARE)
    clients = [client(f"key-{number}") for number in range(300)]
    before = [stage.predictor.router.lane_of(each).route for each in clients]
    with playing(stage.state, stage.state, lambda _: stage.challenger.package_sha) as again:
        again.look()  # As `bentos.service` does before it is ready.
        assert [again.predictor.router.lane_of(each).route for each in clients] == before
        assert again.predict(draw("moss", 1), of_canary(SHARE))["model"]["version"] == 4
    assert set(before) == {"champion", "canary"}
    fault.saw(
        "Release", "the service is restarted in mid-canary", exit="200", says="",
        kept="each client is answered by the model that answered it before; the challenger is there before the first",
    )  # fmt: skip
