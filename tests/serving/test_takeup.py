"""A release is taken up without a failed request, and one that can't be trusted is refused with the reason."""

import dataclasses
import gc
import json
import shutil
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import bentos.releasing.source
from bentos.releasing.failures import Failures
from bentos.releasing.source import present_release, release_files, state_folder
from bentos.releasing.takeup import TakeUp, one_at_a_time
from vision.export.assemble import assemble_package
from vision.package import seal_package
from vision.release import Release, ReleasedModel, first_release, read_release, write_release


def other_package(made, system: Path, note: str) -> str:
    """A second package that answers as the first does; its hash is another."""
    return assemble_package(system / "packages", dataclasses.replace(made.parts, metrics={"note": note}))


def release(system: Path, version: int, package_sha: str) -> Release:
    """The next release, written as `release_model` does."""
    path = system / "release.json"
    champion = ReleasedModel(version=version, package_sha=package_sha, uri=f"packages/{package_sha}")
    made = read_release(path).model_copy(
        update={"no": read_release(path).no + 1, "champion": champion, "reason": "test"}
    )
    write_release(path, made)
    return made


def look(worker) -> bool:
    return worker.client.portal.call(worker.books.take_up.look)


def health(worker) -> dict:
    return worker.client.get("/health").json()


@pytest.fixture
def back(worker, made):
    """The first package serves again after a test, whatever it released."""
    yield
    release(worker.system, 3, made.package.package_sha)
    look(worker)
    assert health(worker)["refused_release"] is None


def test_a_new_release_answers_and_the_old_engine_is_freed(worker, made, draw, back):
    look(worker)
    assert look(worker) is False  # Nothing new.
    old_engine, old_batcher = weakref.ref(worker.predictor.lane.engine), worker.predictor.lane.batcher
    sha = other_package(made, worker.system, "second")
    release(worker.system, 4, sha)
    assert look(worker) is True
    answer = worker.client.post("/predict", files={"file": draw("moss", 1)}).json()
    assert (answer["label"], answer["model"]["version"], answer["model"]["package_sha"]) == ("moss", 4, sha)
    assert health(worker)["release_no"] == read_release(worker.system / "release.json").no
    assert not old_batcher._line._thread.is_alive()
    del old_batcher
    gc.collect()
    assert old_engine() is None
    assert worker.value("release_no") == health(worker)["release_no"]
    assert worker.value("release_take_ups_total", result="taken") >= 1


def test_who_asked_before_the_swap_is_answered_by_the_old_package(worker, made, draw, back):
    lane = worker.predictor.lane
    run, entered, go_on = lane.batcher._line._run, threading.Event(), threading.Event()

    def slow(images):
        entered.set()
        go_on.wait(20)
        return run(images)

    lane.batcher._line._run = slow
    sha = other_package(made, worker.system, "third")
    with ThreadPoolExecutor(2) as pool:
        asked = pool.submit(worker.client.post, "/predict", files={"file": draw("slate", 1)})
        assert entered.wait(20)
        release(worker.system, 5, sha)
        looked = pool.submit(look, worker)
        deadline = time.monotonic() + 20
        while health(worker)["version"] != 5 and time.monotonic() < deadline:
            time.sleep(0.02)
        now = worker.client.post("/predict", files={"file": draw("slate", 1)}).json()
        go_on.set()
        before = asked.result(30).json()
        assert looked.result(30) is True
    assert (before["model"]["version"], now["model"]["version"]) == (3, 5)
    assert before["label"] == now["label"] == "slate"


def test_a_release_of_the_same_package_keeps_the_engine(worker, made, draw, back):
    engine = worker.predictor.lane.engine
    release(worker.system, 9, made.package.package_sha)
    assert look(worker) is True
    assert worker.predictor.lane.engine is engine
    assert worker.client.post("/predict", files={"file": draw("moss", 1)}).json()["model"]["version"] == 9


def test_workers_load_one_after_the_other_and_a_folder_without_locks_stops_nobody(tmp_path):
    inside, most = [], []

    def load(_) -> None:
        with one_at_a_time(tmp_path / "release.json"):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.05)
            inside.pop()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(load, range(4)))
    assert most == [1, 1, 1, 1]
    (tmp_path / "file").write_text("no folder")
    with one_at_a_time(tmp_path / "file" / "release.json"):
        most.append(2)
    assert most[-1] == 2


def changed_byte(folder: Path) -> None:
    data = bytearray((folder / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "model.onnx").write_bytes(data)


def wrong_golden(folder: Path) -> None:
    """A whole package, sealed by the book, whose model does not answer as its golden outputs say."""
    with np.load(folder / "golden" / "outputs.npz") as stored:
        outputs = {name: stored[name] + 3 for name in stored.files}
    np.savez(folder / "golden" / "outputs.npz", **outputs)


def missing_file(folder: Path) -> None:
    (folder / "spec.json").unlink()


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (changed_byte, "model.onnx has changed since it was sealed"),
        (wrong_golden, "fails its golden images here"),
        (missing_file, "spec.json is missing"),
    ],
)
def test_a_package_that_fails_its_check_is_refused_and_the_old_one_stays(worker, made, draw, back, harm, reason):
    before = worker.value("release_take_ups_total", result="refused")
    served = worker.predictor.lane
    sha = other_package(made, worker.system, harm.__name__)
    folder = worker.system / "packages" / sha
    harm(folder)
    if harm is wrong_golden:
        sha = seal_package(folder)
        folder.rename(folder.with_name(sha))
    release(worker.system, 6, sha)
    assert look(worker) is False
    assert worker.predictor.lane is served
    assert worker.client.post("/predict", files={"file": draw("moss", 1)}).json()["model"]["version"] == 3
    said = health(worker)
    assert said["status"] == "degraded"
    assert reason in said["refused_release"]["reason"]
    assert str(worker.state) not in json.dumps(said)  # /health is open.
    assert worker.value("release_take_ups_total", result="refused") == before + 1


def test_a_package_that_was_only_half_copied_is_taken_up_once_it_is_whole(worker, made, back):
    sha = other_package(made, worker.system, "late")
    folder = worker.system / "packages" / sha
    folder.rename(folder.with_name("elsewhere"))
    release(worker.system, 7, sha)
    assert look(worker) is False
    assert "MANIFEST.json" in health(worker)["refused_release"]["reason"]
    folder.with_name("elsewhere").rename(folder)
    assert look(worker) is False  # Not at every poll.
    worker.books.take_up.refused.again_s = 0.0
    assert look(worker) is True
    assert health(worker)["version"] == 7


def test_a_release_that_is_refused_for_days_is_still_looked_at(worker, back, tmp_path):
    take_up = worker.books.take_up
    for _ in range(1100):
        take_up._refuse(ValueError("no package"), tmp_path / "release.json")
    assert take_up.refused.said.tries == 1100
    assert take_up.refused.again_s - time.monotonic() < 301


@pytest.mark.parametrize("text", ["", "{", '{"no": 1}'])
def test_a_release_file_that_can_not_be_read_changes_nothing(worker, back, text):
    path = worker.system / "release.json"
    whole, served = path.read_text(), worker.predictor.lane
    path.write_text(text)
    assert look(worker) is False
    path.unlink()
    assert look(worker) is False
    assert worker.predictor.lane is served
    assert health(worker)["status"] == "degraded"
    path.write_text(whole)


def test_an_image_follows_the_state_folder_once_that_has_a_release(tmp_path):
    """`release_files()` names the state's before the bento's own."""
    state, own = tmp_path / "state.json", tmp_path / "own.json"
    assert present_release((state, own)) == own
    state.write_text("{}")
    assert present_release((state, own)) == state


def test_a_bento_looks_into_the_state_folder_of_its_own_system_first(made, tmp_path, monkeypatch):
    bento = tmp_path / "bento"
    shutil.copytree(made.package.folder, bento / "package")
    monkeypatch.setattr(bentos.releasing.source, "__file__", str(bento / "bentos" / "releasing" / "source.py"))
    monkeypatch.setenv("VISIONOPS_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("VISIONOPS_SYSTEM", "another")
    assert state_folder() == tmp_path / "state"
    state = tmp_path / "state" / "systems" / "quickstart" / "release.json"
    assert release_files() == (state, bento / "release.json")


def test_a_bento_that_is_told_no_state_folder_writes_nothing_into_itself(tmp_path, monkeypatch):
    """BentoML makes the bento's folder the working directory; an export would carry the records away."""
    (tmp_path / "bento" / "package").mkdir(parents=True)
    monkeypatch.setattr(
        bentos.releasing.source, "__file__", str(tmp_path / "bento" / "bentos" / "releasing" / "source.py")
    )
    monkeypatch.delenv("VISIONOPS_STATE", raising=False)
    monkeypatch.chdir(tmp_path / "bento")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert state_folder() == tmp_path / "home" / ".visionops"


def test_an_image_that_answers_with_its_own_package_takes_up_a_release_that_comes_later(worker, made, back):
    carried = worker.system / "release.json"
    state = worker.state / "elsewhere" / "release.json"
    watch = TakeUp(worker.predictor.router, worker.books.metrics, (state, carried), Failures(worker.predictor.told))
    assert worker.client.portal.call(watch.look) is False
    champion = ReleasedModel(version=8, package_sha=made.package.package_sha, uri=str(made.package.folder))
    write_release(state, first_release(champion, "made in the state folder"))
    assert worker.client.portal.call(watch.look) is True
    assert health(worker)["version"] == 8
