"""API keys: the command, the file, and a server that reads it again."""

import json
import os
import shutil
import stat
from datetime import UTC, datetime, timedelta

import pytest

import bentos.releasing.source
from bentos.access.__main__ import main
from bentos.access.keys import KeyFile, KeyRing, WatchedFile, change_keys, keys_file, new_key, read_keys
from bentos.releasing.source import find_served
from vision.errors import UserError
from vision.release import ReleasedModel, first_release, write_release


@pytest.fixture
def path(tmp_path):
    return tmp_path / "access" / "keys.json"


@pytest.fixture
def impatient(monkeypatch):
    """A changed file is seen at once, not half a second later."""
    monkeypatch.setattr("bentos.access.keys.LOOK_S", 0.0)


def command(path, *words) -> int:
    return main(["--file", str(path), *words])


def created(path, capsys, *words) -> str:
    assert command(path, "create", *words) == 0
    return capsys.readouterr().out.strip()


def test_a_key_is_shown_once_and_only_its_hash_is_kept(path, capsys):
    text = created(path, capsys, "--note", "field app", "--scopes", "predict", "keep")
    secret = text.split("_", 2)[2]
    assert secret not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert KeyRing(path).find(text).scopes == ("predict", "keep")
    assert command(path, "list") == 0
    shown = capsys.readouterr().out
    assert "field app" in shown and "active" in shown and secret not in shown


def test_only_the_whole_key_opens(path, capsys):
    text = created(path, capsys)
    ring = KeyRing(path)
    other = created(path, capsys)
    swapped = "_".join((*text.split("_", 2)[:2], other.split("_", 2)[2]))
    for wrong in (
        text[:-1],
        text + "x",
        text.upper(),
        text[3:],
        "vo_",
        "vo__",
        "",
        swapped,
        text.replace("vo_", "vo_0"),
    ):
        assert ring.find(wrong) is None, wrong
    assert ring.find(text) is not None


def test_a_running_server_sees_new_and_revoked_keys(path, capsys, impatient):
    ring = KeyRing(path)
    assert not ring.any
    text = created(path, capsys)
    assert ring.any
    assert ring.find(text) is not None
    assert command(path, "revoke", text.split("_")[1]) == 0
    assert ring.find(text) is None
    assert read_keys(path).keys[0].state == "revoked"


def test_the_file_is_asked_twice_a_second_at_most(path, capsys):
    text = created(path, capsys)
    ring = KeyRing(path)
    command(path, "revoke", text)
    assert ring.find(text) is not None
    ring._watched._next_s = 0
    assert ring.find(text) is None


def test_a_removed_or_broken_file_opens_nothing_to_those_without_a_key(path, capsys, impatient, caplog):
    text = created(path, capsys)
    ring = KeyRing(path)
    path.write_text("{")
    assert ring.find(text) is not None
    assert "the keys stay as they were" in caplog.text
    path.unlink()
    assert ring.find(text) is None
    assert ring.any


def test_an_expired_key_is_refused(path):
    key, text = new_key(("predict",), expires=datetime.now(UTC) - timedelta(seconds=1))
    change_keys(path, lambda _: KeyFile(keys=(key,)))
    assert KeyRing(path).find(text) is None


def test_a_file_that_is_no_keys_file_stops_the_start_and_shows_none_of_it(path):
    path.parent.mkdir()
    path.write_text(json.dumps({"keys": [{"id": "not-an-id", "sha256": "hunter2"}]}))
    with pytest.raises(UserError, match="keys as") as caught:
        KeyRing(path)
    assert "hunter2" not in str(caught.value)


def test_revoking_what_is_not_there_is_a_users_mistake(path, capsys):
    assert command(path, "revoke", "0123456789ab") == 2
    assert "no key '0123456789ab'" in capsys.readouterr().err
    assert not path.exists()


def test_a_write_that_fails_leaves_the_keys_as_they_were(path, capsys, monkeypatch):
    created(path, capsys)
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        change_keys(path, lambda _: KeyFile())
    assert path.read_bytes() == before


@pytest.mark.parametrize(("number", "says"), [(28, "no space left on the disk"), (13, "can't be written or read")])
def test_a_disk_that_takes_no_keys_is_a_fault_of_the_machine(path, capsys, monkeypatch, number, says):
    created(path, capsys)
    before = path.read_bytes()

    def refusing(_):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(os, "fsync", refusing)
    assert command(path, "create") == 1
    told = capsys.readouterr()
    assert says in told.err and "the keys are as they were" in told.err
    assert "Traceback" not in told.err and told.out == ""
    assert path.read_bytes() == before


def test_a_folder_that_can_not_be_made_is_a_fault_of_the_machine(tmp_path, capsys):
    (tmp_path / "access").write_text("a file")
    assert command(tmp_path / "access" / "more" / "keys.json", "create") == 1
    assert "a file lies where a folder is needed" in capsys.readouterr().err


def test_a_file_that_comes_and_goes_is_a_change(path, impatient):
    watched = WatchedFile(path)
    path.parent.mkdir()
    assert not watched.changed()
    path.write_text("1")
    assert watched.changed()
    assert not watched.changed()
    path.unlink()
    assert watched.changed()


def test_in_a_bento_the_command_writes_where_the_service_reads(made, tmp_path, monkeypatch, capsys):
    """Its package says which system it is, whatever the environment's default."""
    shutil.copytree(made.package.folder, tmp_path / "bento" / "package")
    monkeypatch.setattr(
        bentos.releasing.source, "__file__", str(tmp_path / "bento" / "bentos" / "releasing" / "source.py")
    )
    monkeypatch.setenv("VISIONOPS_STATE", str(tmp_path))
    monkeypatch.setenv("VISIONOPS_SYSTEM", "another")
    system, sha = tmp_path / "systems" / "quickstart", made.package.package_sha
    shutil.copytree(made.package.folder, system / "packages" / sha)
    write_release(
        system / "release.json",
        first_release(ReleasedModel(version=3, package_sha=sha, uri=f"packages/{sha}"), "first_model"),
    )
    assert main(["create"]) == 0
    text, served = capsys.readouterr().out.strip(), find_served()
    assert KeyRing(keys_file(tmp_path, served.system, served.serving.access.keys_file)).find(text) is not None
