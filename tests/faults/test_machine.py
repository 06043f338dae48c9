"""What the machine does to a run: disks, the registry, a second flow. Exit 1, one message, nothing half-made.

The tests build on each other, in order, on one state folder: each makes a fault in the run that the one before left off,
so that what was kept shows, and the run after it goes on.
"""

import os
import re
import shutil
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import pytest
from commands import failed, train
from disks import locked, mounted, needs_mounts
from state_folder import EarlierClock, empty_registry, flip, package, stages, versions

import flows.train_model
import tasks.services
from flows.command import DONE, FAULT, MISTAKE, main
from flows.evaluate_model import evaluate_model, options
from tasks.audit import read_audit
from tasks.tracking import CHAMPION, Tracker, alias_version
from vision.errors import MachineError
from vision.release import read_release

PROJECT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server", "ray", "shared_state")]


@pytest.fixture
def tracker(shared_state):
    return lambda: Tracker(f"sqlite:///{shared_state / 'mlflow.db'}", shared_state / "mlartifacts", "tiny")


@pytest.fixture
def before(monkeypatch):
    """`before(task, what)`: `what()` happens just before a task of the flow, once the ones before it are done."""

    def hook(name, what):
        real = getattr(flows.train_model, name)

        def first(*args, **kwargs):
            what()
            return real(*args, **kwargs)

        monkeypatch.setattr(flows.train_model, name, first)

    return hook


@needs_mounts
def test_a_disk_that_is_full_while_caching(tiny, shared_state, capfd, fault):
    folder = shared_state / "systems/tiny/stages/cache"
    with mounted(folder, "size=64k"):
        said = failed(train(capfd, tiny()), "no space left", "images.npy")
        assert not list(folder.rglob("images.npy"))
    done = stages(shared_state)
    assert {"describe", "split", "validate", "explore"} == set(done)
    kept = "the stages before it; the half-made cache is removed"
    fault.saw("Machine", "a disk that is full while caching", exit=FAULT, says=said, kept=kept, also=(shared_state,))


def test_a_batch_larger_than_the_training_split(tiny, shared_state, capfd, fault):
    said = train(capfd, tiny(), "training.batch_size=64")
    assert said.code == MISTAKE and "training.batch_size = 64, but the training split has" in said.message
    assert "train" not in stages(shared_state) and "cache" in stages(shared_state)
    kept = "the stages before training; nothing registered"
    fault.saw("Config", "a batch larger than the training split", exit=MISTAKE, says=said.message, kept=kept)


@needs_mounts
def test_a_disk_that_is_full_while_checkpointing(tiny, shared_state, tracker, capfd, fault):
    with mounted(shared_state / "systems/tiny/stages/train", "size=9m"):
        said = failed(train(capfd, tiny(), "training.max_failures=0"), "no space left")
    assert "train" not in stages(shared_state) and not versions(tracker)
    kept = "the stages before training; nothing registered"
    also = (shared_state,)
    fault.saw("Machine", "a disk that is full while checkpointing", exit=FAULT, says=said, kept=kept, also=also)


@needs_mounts
def test_a_disk_that_is_full_while_registering(tiny, shared_state, tracker, capfd, fault):
    """The registry's files lie on a disk of their own."""
    with mounted(shared_state / "mlartifacts", "size=1m"):
        said = failed(train(capfd, tiny()), "no space left", "mlartifacts")
    assert {"train", "evaluate", "export", "gate"} <= set(stages(shared_state)) and not versions(tracker)
    assert not (shared_state / "systems/tiny/release.json").exists()
    said = re.sub(r"(/package)/\S+", r"\1/…", said)  # which file comes first is the file system's affair
    kept = "training, package and verdict; nothing registered, nothing released"
    also = (shared_state,)
    fault.saw("Machine", "a disk that is full while registering", exit=FAULT, says=said, kept=kept, also=also)


def test_a_package_changed_by_one_byte_before_it_is_registered(tiny, shared_state, tracker, capfd, before, fault):
    before("register", lambda: flip(package(shared_state) / "model.onnx"))
    said = failed(train(capfd, tiny()), "model.onnx has changed since it was sealed")
    assert not versions(tracker)
    kept = "training and verdict; nothing registered. The next run makes the package again"
    given, also = "a byte of the package changed between gate and registry", (shared_state,)
    fault.saw("Machine", given, exit=FAULT, says=said, kept=kept, also=also)


def test_a_registry_that_is_locked_just_when_the_version_comes(
    tiny, shared_state, tracker, capfd, before, monkeypatch, fault
):
    """The package that the test before damaged is made again on the way, and is the same."""
    monkeypatch.setattr(tasks.services, "LOCK_S", 1.0)
    damaged, holders = package(shared_state).name, []

    def lock():
        holders.append(locked(shared_state / "mlflow.db"))
        holders[0].__enter__()

    before("register", lock)
    try:
        said = failed(train(capfd, tiny()), "mlflow.db", "locked")
    finally:
        holders[0].__exit__(None, None, None)
    assert not versions(tracker) and package(shared_state).name == damaged
    kept = "training, package and verdict; nothing registered"
    given, also = "a registry database that is locked when the version comes", (shared_state,)
    fault.saw("Machine", given, exit=FAULT, says=said, kept=kept, also=also)


def test_two_flows_of_one_system_at_once(tiny, shared_state, tracker, capfd, before, fault):
    """The second is a process of its own; the first goes on only when the second has said that it waits."""
    from prefect.settings import PREFECT_API_URL

    path, second = tiny(), []

    def start_second():
        env = {**os.environ, "PREFECT_API_URL": PREFECT_API_URL.value(), "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "flows.train_model", "--system", path]
        pipe = subprocess.PIPE
        second.append(subprocess.Popen(command, cwd=PROJECT, env=env, stdout=pipe, stderr=pipe, text=True))
        second.append(second[0].stdout.readline())

    before("register", start_second)
    first = train(capfd, path)
    out, err = second[0].communicate(timeout=120)
    assert (first.code, second[0].returncode) == (DONE, DONE), (first.err, out, err)
    assert second[1].startswith("another flow of tiny is running")
    assert versions(tracker) == [1] and "version 1 is champion" in first.out and "version 1 is champion" in out
    assert [row["what"] for row in read_audit(f"sqlite:///{shared_state / 'state.db'}", "tiny")] == ["alias:champion"]
    assert all(len(keys) == 1 for keys in stages(shared_state).values())
    kept = "the second reuses what the first made: one version, one champion, each stage run once"
    fault.saw("Machine", "two flows of one system at once", exit=DONE, says=second[1], kept=kept, also=(shared_state,))


def test_a_champion_changed_by_one_byte_is_not_measured_and_not_served(tiny, shared_state, capfd, fault):
    from bentos.releasing.source import open_served

    whole = package(shared_state)
    copy = shutil.copytree(whole, shared_state / "copy")
    flip(whole / "model.onnx")
    capfd.readouterr()
    code = main(evaluate_model, options, ["--system", tiny()])
    err = capfd.readouterr().err
    assert code == FAULT and "model.onnx has changed since it was sealed" in err and "Traceback" not in err
    given, also = "a byte of the champion's package changed, on evaluating it", (shared_state,)
    said = err.partition("error: ")[2]
    fault.saw("Machine", given, exit=FAULT, says=said, kept="registry and release", also=also)
    with pytest.raises(MachineError, match=r"model\.onnx has changed since it was sealed") as refused:
        open_served(shared_state / "systems/tiny/release.json")
    given = "a byte of the champion's package changed, on serving it"
    kept = "no server starts with it; an older version can be served"
    fault.saw("Machine", given, exit=1, says=str(refused.value), kept=kept, also=also)
    shutil.rmtree(whole)  # what the message says
    assert main(evaluate_model, options, ["--system", tiny()]) == DONE
    assert {p.name: p.read_bytes() for p in whole.glob("*.*")} == {p.name: p.read_bytes() for p in copy.glob("*.*")}


def test_a_registry_that_knows_nothing_while_the_clock_is_set_back(
    tiny, shared_state, capfd, caplog, monkeypatch, fault
):
    """As after a lost mlflow.db. Nothing that counts goes by the clock: rows and releases have numbers, stages have keys."""
    for module in ("tasks.audit", "tasks.stages", "tasks.releasing.restore", "vision.release"):
        monkeypatch.setattr(f"{module}.datetime", EarlierClock)
    release = read_release(shared_state / "systems/tiny/release.json")
    made = stages(shared_state)
    tracker = empty_registry(shared_state / "second.db", monkeypatch)
    said = train(capfd, tiny())
    assert said.code == DONE and "Traceback" not in said.err, said.err
    assert versions(tracker) == [1] and alias_version(tracker(), CHAMPION).package_sha == release.champion.package_sha
    assert read_release(shared_state / "systems/tiny/release.json") == release and stages(shared_state) == made
    rows = read_audit(f"sqlite:///{shared_state / 'state.db'}", "tiny")
    assert [row["no"] for row in rows] == [1, 2] and rows[1]["at"].startswith("2001") and rows[1]["at"] < rows[0]["at"]
    run = tracker().client.get_run(alias_version(tracker(), CHAMPION).run_id)
    assert tracker().client.list_artifacts(run.info.run_id, f"package/{release.champion.package_sha}")
    (warning,) = (record.getMessage() for record in caplog.records if record.name == "tasks.releasing.restore")
    kept = "the released package is champion again, in its old place; no stage ran again"
    also = (shared_state,)
    fault.saw(
        "Machine",
        "the registry was wiped, or is another (VISIONOPS_MLFLOW_URI)",
        exit=DONE,
        says=warning,
        kept=kept,
        also=also,
    )
    kept = "the order of audit rows, releases and versions: they have numbers, and stages go by content"
    fault.saw("Machine", "the clock set back by years", exit=DONE, says="nothing", kept=kept)


@pytest.mark.system
def test_a_state_folder_that_was_moved(tiny, shared_state, capfd, monkeypatch, tmp_path, fault):
    """Copied, and the old one hidden meanwhile, so that nothing can still read or write there."""
    new, old = tmp_path / "elsewhere", shared_state.rename(shared_state.with_name("old"))
    try:
        shutil.copytree(old, new, symlinks=True)
        monkeypatch.setenv("VISIONOPS_STATE", str(new))
        monkeypatch.setenv("BENTOML_HOME", str(new / "bentoml"))
        # Of this process: one that starts after the move has no old places in mind.
        monkeypatch.setattr("mlflow.tracking._tracking_service.utils._artifact_repos_cache", OrderedDict())
        made = {name: keys for name, keys in stages(new).items() if name not in ("build", "smoke")}
        said = train(capfd, tiny())
        assert said.code == DONE and "version 1 is champion: already champion" in said.out and not shared_state.exists()
        assert {name: keys for name, keys in stages(new).items() if name in made} == made
        moved = Tracker(f"sqlite:///{new / 'mlflow.db'}", new / "mlartifacts", "tiny")
        run_id = alias_version(moved, CHAMPION).run_id
        assert "report" in {item.path for item in moved.client.list_artifacts(run_id)}
        shutil.rmtree(package(new))  # so that it comes from the registry's files, where they are now
        assert main(evaluate_model, options, ["--system", tiny()]) == DONE and package(new)
    finally:
        shutil.rmtree(shared_state, ignore_errors=True)
        old.rename(shared_state)
    kept = "all of it; the bento's check is repeated, no other stage"
    fault.saw("Machine", "a state folder that was moved", exit=DONE, says="nothing", kept=kept)


def test_a_wiped_registry_whose_released_package_is_gone_too(tiny, shared_state, capfd, monkeypatch, fault):
    tracker = empty_registry(shared_state / "third.db", monkeypatch)
    release = shared_state / "systems/tiny/release.json"
    whole = release.read_text()
    sha = package(shared_state).name
    release.write_text(whole.replace(sha, "0" * 64))
    said = failed(train(capfd, tiny()), "the registry has none")
    assert not versions(tracker)
    kept = "release and packages as they were; nothing registered"
    given, also = "a wiped registry, and the released package gone", (shared_state,)
    fault.saw("Machine", given, exit=FAULT, says=said, kept=kept, also=also)
    release.write_text(whole)
    assert train(capfd, tiny()).code == DONE and versions(tracker) == [1]
