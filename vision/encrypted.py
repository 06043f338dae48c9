"""A package as one encrypted file, for a device that others may take apart.

Plain text: the package's files one after the other. It is cut into pieces, each with AES-256-GCM; a piece's nonce is its
number and whether it is the last, and the file's header goes into each piece as associated data. So nothing can be changed,
moved, left out, put in or cut off unnoticed (STREAM: Hoang, Reyhanitabar, Rogaway, Vizár 2015). The key of the pieces is
derived (HKDF-SHA256) from the given one and a random salt, so that no nonce comes twice under one key.

Layout: MAGIC, length of the header (4 bytes, big-endian), header (JSON), pieces of PIECE_BYTES, each with 16 bytes more.
"""

import os
import shutil
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, BinaryIO

from pydantic import Field, ValidationError

from vision.errors import MachineError, UserError
from vision.package import Package, open_package
from vision.package_key import derived, key_error, key_id
from vision.settings import Section

SUFFIX = ".encrypted"
MAGIC = b"visionops package\n"
SALT_BYTES, TAG_BYTES = 32, 16
PIECE_BYTES = 2**20
MAX_HEADER_BYTES = 2**20
LENGTH = struct.Struct(">I")


class Header(Section):
    """files: size in bytes by name, in the order of the plain text. key_id: tells keys apart and says nothing of them."""

    schema_no: Annotated[int, Field(alias="schema", ge=1, le=1)] = 1
    package_sha: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    key_id: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    salt: Annotated[str, Field(pattern=rf"^[0-9a-f]{{{2 * SALT_BYTES}}}$")]
    files: Annotated[dict[str, Annotated[int, Field(ge=0)]], Field(min_length=1)]

    @property
    def plain_bytes(self) -> int:
        return sum(self.files.values())


def encrypt_package(package: Package, target: Path, key: bytes) -> None:
    """Writes `target` whole or not at all. package: one that `open_package` has checked."""
    folder = package.folder
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    header = Header(
        package_sha=package.package_sha,
        key_id=key_id(key),
        salt=os.urandom(SALT_BYTES).hex(),
        files={name: (folder / name).stat().st_size for name in names},
    )
    text = header.model_dump_json(by_alias=True).encode()
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(MAGIC + LENGTH.pack(len(text)) + text)
            cipher = _Cipher(key, header, text)
            for number, (piece, last) in enumerate(_with_last(_plain_pieces(folder, names))):
                file.write(cipher.encrypt(number, last, piece))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def read_header(path: Path) -> Header:
    """What the file says of itself; only decrypting proves it. Raises `UserError`, `MachineError`."""
    with _opened(path) as file:
        return _header(path, file)[0]


def decrypt_package(path: Path, folder: Path, key: bytes, package_sha: str | None = None) -> Package:
    """Writes the package to `folder`, which must not be there, whole or not at all, and opens it: every hash is checked.

    Raises `UserError` for another key, `MachineError` for a file that was changed or cut short.
    """
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
    try:
        with _opened(path) as file:
            header, text = _header(path, file)
            if package_sha not in (None, header.package_sha):
                raise _damaged(path, f"it holds package {header.package_sha[:12]}, not {package_sha[:12]}")
            if header.key_id != key_id(key):
                raise key_error(f"{path.name} was encrypted with key {header.key_id}, the one given is {key_id(key)}")
            _check_length(path, file, header)
            _write_files(partial, header, _decrypted(path, file, _Cipher(key, header, text)))
        open_package(partial, header.package_sha)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return open_package(folder, header.package_sha)


class _Cipher:
    def __init__(self, key: bytes, header: Header, text: bytes) -> None:
        """text: the header's bytes in the file."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._aead, self._text = AESGCM(derived(key, b"pieces", bytes.fromhex(header.salt))), text

    def encrypt(self, number: int, last: bool, piece: bytes) -> bytes:
        return self._aead.encrypt(self._nonce(number, last), piece, self._text)

    def decrypt(self, number: int, last: bool, piece: bytes) -> bytes:
        """Raises `cryptography.exceptions.InvalidTag`."""
        return self._aead.decrypt(self._nonce(number, last), piece, self._text)

    @staticmethod
    def _nonce(number: int, last: bool) -> bytes:
        return number.to_bytes(11, "big") + bytes([last])


def _plain_pieces(folder: Path, names: list[str]) -> Iterator[bytes]:
    """All pieces are PIECE_BYTES long, but the last."""
    waiting = bytearray()
    for name in names:
        with (folder / name).open("rb") as file:
            while part := file.read(PIECE_BYTES - len(waiting)):
                waiting += part
                if len(waiting) == PIECE_BYTES:
                    yield bytes(waiting)
                    waiting.clear()
    if waiting:
        yield bytes(waiting)


def _with_last(pieces: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    held = next(pieces)
    for piece in pieces:
        yield held, False
        held = piece
    yield held, True


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(
            f"encrypted package {path}: {error.strerror}", "a file that make encrypt wrote", "correct the path"
        ) from None


def _header(path: Path, file: BinaryIO) -> tuple[Header, bytes]:
    """The header and its bytes; `file` then stands at the first piece."""
    if file.read(len(MAGIC)) != MAGIC:
        raise _damaged(path, "it does not begin as one")
    length = file.read(LENGTH.size)
    size = LENGTH.unpack(length)[0] if len(length) == LENGTH.size else MAX_HEADER_BYTES + 1
    text = file.read(size) if size <= MAX_HEADER_BYTES else b""
    try:
        header = Header.model_validate_json(text)
    except ValidationError:
        raise _damaged(path, "its header can't be read") from None
    parts = [PurePosixPath(name).parts for name in header.files]
    if not header.plain_bytes or any(not one or one[0] == "/" or ".." in one for one in parts):
        raise _damaged(path, "its header names files that no package has")
    return header, text


def _check_length(path: Path, file: BinaryIO, header: Header) -> None:
    pieces = -(-header.plain_bytes // PIECE_BYTES)
    expected = file.tell() + header.plain_bytes + pieces * TAG_BYTES
    found = os.fstat(file.fileno()).st_size
    if found != expected:
        what = "it is cut short" if found < expected else "there is more than it says"
        raise _damaged(path, f"{what}: {found} bytes, {expected} by its header")


def _decrypted(path: Path, file: BinaryIO, cipher: _Cipher) -> Iterator[bytes]:
    from cryptography.exceptions import InvalidTag

    pieces = iter(lambda: file.read(PIECE_BYTES + TAG_BYTES), b"")
    for number, (piece, last) in enumerate(_with_last(pieces)):
        try:
            yield cipher.decrypt(number, last, piece)
        except InvalidTag:
            raise _damaged(path, f"piece {number + 1} or its header was changed") from None


def _write_files(folder: Path, header: Header, pieces: Iterator[bytes]) -> None:
    """What stands in the header is proved once the first piece is decrypted; nothing is written before."""
    waiting = bytearray(next(pieces))
    for name, size in header.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            while size:
                if not waiting:
                    waiting += next(pieces)
                part = waiting[:size]
                file.write(part)
                del waiting[: len(part)]
                size -= len(part)


def _damaged(path: Path, what: str) -> MachineError:
    return MachineError(
        f"encrypted package {path}: {what}",
        "the file as make encrypt wrote it",
        "copy it to this device again; nothing of it was taken",
    )
