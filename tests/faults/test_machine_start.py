"""A machine that can't be used is told within seconds, before anything runs: exit 1, one message."""

import os
import time

import pytest
from commands import failed, train
from disks import locked, mounted, needs_mounts, needs_read_only, read_only

import tasks.services
from flows.command import FAULT, MISTAKE, main
from flows.train_model import train_model


@pytest.fixture
def state(tmp_path, monkeypatch):
    """Not made yet; for the quick tests."""
    for name in [name for name in os.environ if name.startswith("VISIONOPS")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "state"
    monkeypatch.setenv("VISIONOPS_STATE", str(folder))
    return folder


def test_a_state_folder_where_a_file_lies(tiny, state, capfd, fault):
    state.write_text("not a folder")
    said = failed(train(capfd, tiny()), str(state))
    assert state.read_text() == "not a folder"
    fault.saw("Machine", "a file where the state folder should be", exit=FAULT, says=said, kept="the file; nothing ran")


def test_a_state_folder_that_is_an_address(tiny, tmp_path, monkeypatch, capfd, fault):
    system = tiny()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VISIONOPS_STATE", "s3://bucket/state")
    said = train(capfd, system)
    assert said.code == MISTAKE and "mount the store" in said.message
    assert not (tmp_path / "s3:").exists()
    fault.saw(
        "Config", "VISIONOPS_STATE=s3://…", exit=MISTAKE, says=said.message, kept="nothing ran, no folder of that name"
    )


@needs_read_only
def test_a_state_folder_that_cannot_be_written(tiny, state, capfd, fault):
    with read_only(state):
        said = failed(train(capfd, tiny()), str(state))
        assert not list(state.iterdir())
    said = said.replace("Read-only file system", "Permission denied")  # root meets the first, a user the second
    fault.saw("Machine", "a state folder that can't be written", exit=FAULT, says=said, kept="nothing ran")


def test_verbose_adds_the_traceback(tiny, state, capfd):
    state.write_text("not a folder")
    assert main(train_model, argv=["--system", tiny(), "-v"]) == FAULT
    err = capfd.readouterr().err
    assert "Traceback" in err and "NotADirectoryError" in err and err.count("error: a file lies") == 1


@needs_mounts
def test_a_disk_that_is_full_at_the_start(tiny, state, capfd, fault):
    with mounted(state, "size=64k"):
        (state / "other").write_bytes(bytes(65_536))
        said = failed(train(capfd, tiny()), "no space left")
    fault.saw("Machine", "a disk that is full at the start", exit=FAULT, says=said, kept="nothing ran")


def test_a_registry_database_that_another_process_holds(tiny, state, capfd, monkeypatch, fault):
    monkeypatch.setattr(tasks.services, "LOCK_S", 1.0)
    state.mkdir()
    with locked(state / "mlflow.db"):
        said = failed(train(capfd, tiny()), "mlflow.db", "locked")
    fault.saw("Machine", "a locked registry database, at the start", exit=FAULT, says=said, kept="nothing ran")


def test_an_audit_log_that_is_no_database(tiny, state, capfd, fault):
    state.mkdir()
    (state / "state.db").write_bytes(b"no database" * 1000)
    said = failed(train(capfd, tiny()), "state.db")
    assert (state / "state.db").read_bytes().startswith(b"no database")
    fault.saw("Machine", "an audit log that is no database", exit=FAULT, says=said, kept="the file; nothing ran")


def test_a_registry_server_that_is_away_is_told_within_seconds(tiny, state, capfd, monkeypatch, fault):
    monkeypatch.setenv("VISIONOPS_MLFLOW_URI", "http://127.0.0.1:9")
    started = time.monotonic()
    said = failed(train(capfd, tiny()), "http://127.0.0.1:9", "VISIONOPS_MLFLOW_URI")
    assert time.monotonic() - started < 10
    fault.saw("Machine", "a registry server that is away", exit=FAULT, says=said, kept="nothing ran")
