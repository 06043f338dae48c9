"""The key of encrypted packages: 32 random bytes, as base64 in a file of its own. It stands in no config and no log."""

import base64
import binascii
import os
from pathlib import Path

from vision.errors import UserError

KEY_BYTES = 32


def new_key(path: Path) -> None:
    """Makes the file, for its owner alone. Raises `FileExistsError`."""
    text = base64.b64encode(os.urandom(KEY_BYTES))
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(text + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_key(path: Path) -> bytes:
    """Raises `UserError`, which never shows what stands in the file."""
    try:
        key = base64.b64decode(path.read_bytes().strip(), validate=True)
    except OSError as error:
        raise key_error(f"key file {path}: {error.strerror}") from None
    except binascii.Error:
        raise key_error(f"key file {path} holds no key") from None
    if len(key) != KEY_BYTES:
        raise key_error(f"key file {path} holds {len(key)} bytes")
    return key


def derived(key: bytes, purpose: bytes, salt: bytes | None = None) -> bytes:
    """Another key of the same length, by HKDF-SHA256."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), KEY_BYTES, salt, b"visionops " + purpose).derive(key)


def key_id(key: bytes) -> str:
    """Tells keys apart and says nothing of them."""
    return derived(key, b"key id")[:8].hex()


def key_error(got: str) -> UserError:
    return UserError(
        got,
        f"a file with the key of that package: {KEY_BYTES} bytes in base64, as make encrypt writes a new one",
        "name that key's file: VISIONOPS_PACKAGE_KEY_FILE for a service, KEY= for make",
    )
