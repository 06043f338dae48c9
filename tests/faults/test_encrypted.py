"""An encrypted package that can't be taken: one message each, and nothing of it is written."""

import os

import pytest

import bentos.releasing.plain as plain
from bentos.releasing.source import find_served
from flows.encrypt_package import main
from tasks.packaging.device import write_device
from vision.encrypted import encrypt_package
from vision.errors import ClearError
from vision.package import REQUIRED, InputSpec, Spec, open_package, seal_package
from vision.package_key import key_id, new_key, read_key

FAULT, MISTAKE = 1, 2
KEPT = "the file; no folder, and no part of one, is written"


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "package"
    folder.mkdir()
    for name in REQUIRED:
        (folder / name).write_text(f"content of {name}")
    spec = Spec(kind="classify", arch="resnet18", labels=("a", "b"), input=InputSpec(), outputs=("logits", "embedding"))
    (folder / "spec.json").write_text(spec.model_dump_json(by_alias=True))
    (folder / "reference.parquet").write_bytes(os.urandom(3 * 2**20))  # three pieces
    return open_package(folder, seal_package(folder))


@pytest.fixture
def key(tmp_path):
    new_key(tmp_path / "device.key")
    return tmp_path / "device.key"


@pytest.fixture
def file(package, key, tmp_path):
    encrypt_package(package, tmp_path / "package.encrypted", read_key(key))
    return tmp_path / "package.encrypted"


def refused(file, key, capfd, tmp_path, wanted=FAULT) -> str:
    capfd.readouterr()
    assert main(["decrypt", "--from", str(file), "--key", str(key), "--to", str(tmp_path / "to" / "again")]) == wanted
    out, err = capfd.readouterr()
    assert out == "" and "Traceback" not in err
    assert key.exists() is False or key.read_text().strip() == "" or key.read_text().strip() not in err
    assert not list((tmp_path / "to").rglob("*"))
    return err.strip().removeprefix("error: ")


def test_another_key(file, key, capfd, tmp_path, fault):
    right = key_id(read_key(key))
    key.unlink()
    new_key(key)
    said = refused(file, key, capfd, tmp_path, MISTAKE)
    said = said.replace(right, "…").replace(key_id(read_key(key)), "…")
    fault.saw("Release", "an encrypted package and the key of another", exit=MISTAKE, says=said, kept=KEPT)


def test_no_key_file(file, key, capfd, tmp_path, fault):
    key.unlink()
    said = refused(file, key, capfd, tmp_path, MISTAKE)
    fault.saw("Release", "an encrypted package whose key file is missing", exit=MISTAKE, says=said, kept=KEPT)


def test_a_key_file_that_holds_something_else(file, key, capfd, tmp_path, fault):
    key.write_text("hunter2hunter2")
    said = refused(file, key, capfd, tmp_path, MISTAKE)
    fault.saw("Release", "a key file that holds something else", exit=MISTAKE, says=said, kept=KEPT)


def test_one_changed_byte(file, key, capfd, tmp_path, fault):
    data = bytearray(file.read_bytes())
    data[-(2**20)] ^= 1
    file.write_bytes(data)
    said = refused(file, key, capfd, tmp_path)
    assert "was changed" in said
    fault.saw("Release", "an encrypted package of which one byte was changed", exit=FAULT, says=said, kept=KEPT)


def test_a_file_that_was_cut_short(file, key, capfd, tmp_path, fault):
    os.truncate(file, file.stat().st_size - 2**20)
    said = refused(file, key, capfd, tmp_path)
    assert "cut short" in said
    said = " ".join("…" if word.isdigit() else word for word in said.split(" "))
    fault.saw("Release", "an encrypted package that was cut short", exit=FAULT, says=said, kept=KEPT)


def test_a_service_that_has_no_key_for_its_champion(package, key, tmp_path, monkeypatch, fault):
    """`bentoml serve` prints it and does not start."""
    file = write_device(package, 1, "quickstart", tmp_path / "state", read_key(key))
    monkeypatch.setenv("VISIONOPS_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("VISIONOPS_PACKAGE_KEY_FILE", raising=False)
    with pytest.raises(ClearError, match="no key is named") as raised:
        find_served()
    fault.saw(
        "Release", "a service whose champion is encrypted, and no key", exit="–", says=str(raised.value),
        kept="the file; nothing is decrypted",
    )  # fmt: skip
    monkeypatch.setenv("VISIONOPS_PACKAGE_KEY_FILE", str(key))
    monkeypatch.setattr(plain, "IN_MEMORY", ())
    with pytest.raises(ClearError, match="of memory") as raised:
        find_served()
    assert file.is_file() and not list((tmp_path / "state").rglob("spec.json"))
    fault.saw(
        "Release", "a service whose champion is encrypted, and no memory file system with room", exit="–",
        says=str(raised.value), kept="the file; nothing is decrypted: never onto a disk",
    )  # fmt: skip
