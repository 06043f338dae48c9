"""A package as one encrypted file: what was encrypted comes back, byte for byte, or nothing does."""

import os

import pytest

import vision.encrypted as encrypted
from vision.encrypted import LENGTH, MAGIC, TAG_BYTES, decrypt_package, encrypt_package, read_header
from vision.errors import ClearError, MachineError, UserError
from vision.package import REQUIRED, InputSpec, Spec, open_package, seal_package
from vision.package_key import KEY_BYTES, key_id, new_key, read_key

PIECE = 64
KEY = bytes(range(KEY_BYTES))


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small one, of many pieces; one file is empty, and one ends where a piece does."""
    monkeypatch.setattr(encrypted, "PIECE_BYTES", PIECE)
    folder = tmp_path / "package"
    (folder / "golden").mkdir(parents=True)
    spec = Spec(kind="classify", arch="resnet18", labels=("a", "b"), input=InputSpec(), outputs=("logits", "embedding"))
    for name in REQUIRED:
        (folder / name).write_text(f"content of {name}")
    (folder / "spec.json").write_text(spec.model_dump_json(by_alias=True))
    (folder / "golden" / "0.jpg").write_bytes(bytes(2 * PIECE))
    (folder / "golden" / "empty.txt").touch()
    return open_package(folder, seal_package(folder))


@pytest.fixture
def file(package, tmp_path):
    encrypt_package(package, tmp_path / "file.encrypted", KEY)
    return tmp_path / "file.encrypted"


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(file, tmp_path, error=MachineError) -> str:
    with pytest.raises(error) as raised:
        decrypt_package(file, tmp_path / "again", KEY)
    assert not (tmp_path / "again").exists() and list(tmp_path.glob(".*")) == [], "nothing half-written"
    return raised.value.got


def body(file) -> tuple[bytes, list[bytes]]:
    """What stands before the pieces, and the pieces."""
    data = file.read_bytes()
    start = len(MAGIC) + LENGTH.size + LENGTH.unpack_from(data, len(MAGIC))[0]
    step = PIECE + TAG_BYTES
    return data[:start], [data[at : at + step] for at in range(start, len(data), step)]


@pytest.mark.parametrize("more", range(-2, 3))
def test_what_was_encrypted_comes_back_and_is_the_same_package(package, tmp_path, more):
    """Also where the last piece is full, and where it holds one byte."""
    total = sum(len(content) for content in contents(package.folder).values())
    (package.folder / "golden" / "1.jpg").write_bytes(bytes(PIECE - total % PIECE + more + PIECE))
    sealed = open_package(package.folder, seal_package(package.folder))
    encrypt_package(sealed, tmp_path / "file", KEY)
    again = decrypt_package(tmp_path / "file", tmp_path / "again", KEY, sealed.package_sha)
    assert again.package_sha == sealed.package_sha and again.spec == sealed.spec
    assert contents(again.folder) == contents(package.folder)


def test_nothing_of_the_package_can_be_read_in_the_file_and_no_two_files_are_alike(package, file, tmp_path):
    assert len(body(file)[1]) > 5
    assert b"content of" not in b"".join(body(file)[1]) and KEY not in file.read_bytes()
    encrypt_package(package, tmp_path / "other", KEY)
    assert not set(body(file)[1]) & set(body(tmp_path / "other")[1])
    assert read_header(file).package_sha == package.package_sha


def test_a_changed_byte_is_found_wherever_it_is(file, tmp_path):
    whole = file.read_bytes()
    for at in {*range(0, len(whole), 29), len(whole) - 1}:
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        refused(file, tmp_path, ClearError)


def test_a_cut_is_told_as_one_wherever_it_is(file, tmp_path):
    whole, start = file.read_bytes(), len(body(file)[0])
    for size in {start, *range(start + PIECE + TAG_BYTES, len(whole), PIECE + TAG_BYTES), len(whole) - 1}:
        file.write_bytes(whole[:size])
        assert "cut short" in refused(file, tmp_path)
    for size in (0, 3, len(MAGIC) + 2, start - 1):
        file.write_bytes(whole[:size])
        refused(file, tmp_path)
    file.write_bytes(whole + b"x")
    assert "more than it says" in refused(file, tmp_path)


def test_pieces_can_be_neither_moved_nor_doubled_nor_taken_from_another_file(package, file, tmp_path):
    head, pieces = body(file)
    encrypt_package(package, tmp_path / "other", KEY)
    foreign = body(tmp_path / "other")[1]
    for changed in ([pieces[1], pieces[0], *pieces[2:]], [pieces[0], *pieces[:-1]], [foreign[0], *pieces[1:]]):
        file.write_bytes(head + b"".join(changed)[: len(b"".join(pieces))].ljust(len(b"".join(pieces)), b"\0"))
        assert "was changed" in refused(file, tmp_path)


def test_another_key_is_told_by_its_name_and_neither_key_is_shown(package, tmp_path):
    other = os.urandom(KEY_BYTES)
    encrypt_package(package, tmp_path / "file", other)
    said = refused(tmp_path / "file", tmp_path, UserError)
    assert key_id(other) in said and key_id(KEY) in said
    assert KEY.hex() not in said and other.hex() not in said


def test_another_package_than_the_release_names_is_refused(file, tmp_path):
    with pytest.raises(MachineError, match="it holds package"):
        decrypt_package(file, tmp_path / "again", KEY, "0" * 64)


def test_a_header_cannot_lead_out_of_the_folder(package, tmp_path, monkeypatch):
    """Even who has the key."""
    real = encrypted.Header
    for name in ("../outside", "/outside", "a/../../outside"):
        files = {name: sum(len(content) for content in contents(package.folder).values())}
        monkeypatch.setattr(encrypted, "Header", lambda forged=files, **values: real(**{**values, "files": forged}))
        encrypt_package(package, tmp_path / "file", KEY)
        monkeypatch.setattr(encrypted, "Header", real)
        assert "no package has" in refused(tmp_path / "file", tmp_path)
        assert not (tmp_path.parent / "outside").exists()


def test_a_key_file_is_made_once_for_its_owner_alone(tmp_path):
    new_key(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert len(read_key(tmp_path / "key")) == KEY_BYTES
    with pytest.raises(FileExistsError):
        new_key(tmp_path / "key")


@pytest.mark.parametrize("text", ["", "hunter2hunter2", "aGVsbG8=", "ä"])
def test_what_is_no_key_is_refused_and_not_shown(text, tmp_path):
    (tmp_path / "key").write_text(text)
    with pytest.raises(UserError) as raised:
        read_key(tmp_path / "key")
    assert not text or text not in str(raised.value)
