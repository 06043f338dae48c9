"""API keys: `vo_<id>_<secret>`, kept as hashes in one small file that a running server reads again when it changes.

The secret is 256 random bits, so one sha256 is right at rest: slow hashes (bcrypt, argon2) guard passwords that people
choose, where guesses are cheap; here there is nothing to guess, and every request would pay for it. It is compared in
constant time.
"""

import hashlib
import hmac
import logging
import os
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from filelock import FileLock
from pydantic import AwareDatetime, Field, ValidationError

from configs.paths import StatePaths
from vision.errors import UserError
from vision.settings import Section

log = logging.getLogger("bentos.access")

Scope = Literal["predict", "feedback", "keep", "admin"]
PREFIX = "vo"
FOLDER, KEYS = "access", "keys.json"
ID_BYTES, SECRET_BYTES = 6, 32
LOOK_S = 0.5
"""How often at most the file is asked whether it has changed."""
LOCK_TIMEOUT_S = 30


class Key(Section):
    """One key. sha256: of its secret. requests_per_minute: None for the service's own."""

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    scopes: tuple[Scope, ...]
    note: str = ""
    created: AwareDatetime
    expires: AwareDatetime | None = None
    revoked: AwareDatetime | None = None
    requests_per_minute: Annotated[int, Field(ge=1)] | None = None

    @property
    def state(self) -> Literal["active", "expired", "revoked"]:
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= datetime.now(UTC) else "active"


class KeyFile(Section):
    """All keys ever made: a revoked one stays, so that a record's key can be told years later."""

    keys: tuple[Key, ...] = ()


def keys_file(state: Path, system: str, configured: Path | None) -> Path:
    """state: the state folder. configured: `serving.access.keys_file`."""
    return configured or StatePaths(state).system(system) / FOLDER / KEYS


def new_key(scopes: tuple[Scope, ...], note: str = "", **more: object) -> tuple[Key, str]:
    """The key as it is kept, and the text that its owner gets; that text is nowhere else. more: `Key`'s other fields."""
    key_id, secret = secrets.token_hex(ID_BYTES), secrets.token_urlsafe(SECRET_BYTES)
    key = Key(id=key_id, sha256=_hash(secret), scopes=scopes, note=note, created=datetime.now(UTC), **more)
    return key, f"{PREFIX}_{key_id}_{secret}"


def read_keys(path: Path) -> KeyFile | None:
    """None where there is no file. Raises `UserError` for one that can't be understood: it locks nobody out silently."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}", "a file that the service may read", "correct its rights") from None
    try:
        return KeyFile.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise UserError(
            f"{path}: {'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}",
            "keys as `python -m bentos.access` writes them",
            "restore the file, or remove it and make new keys",
        ) from None


def change_keys(path: Path, change: Callable[[KeyFile], KeyFile]) -> KeyFile:
    """Replaces the file (mode 0600) by `change(file)` in one step, under its lock; the folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with FileLock(f"{path}.lock", timeout=LOCK_TIMEOUT_S, mode=0o600):
        changed = change(read_keys(path) or KeyFile())
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        partial.unlink(missing_ok=True)
        try:
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(changed.model_dump_json(indent=1))
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    return changed


class WatchedFile:
    """Says when a file has become another: by its inode, size and time, asked at most every `LOOK_S`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen = self._mark()
        self._next_s = time.monotonic() + LOOK_S

    def changed(self) -> bool:
        now_s = time.monotonic()
        if now_s < self._next_s:
            return False
        self._next_s = now_s + LOOK_S
        before, self._seen = self._seen, self._mark()
        return self._seen != before

    def _mark(self) -> tuple[int, ...]:
        try:
            found = self.path.stat()
        except OSError:
            return ()
        return found.st_ino, found.st_size, found.st_mtime_ns


class KeyRing:
    """The keys of a running server."""

    def __init__(self, path: Path) -> None:
        """Raises `UserError` for a file that can't be understood."""
        self._watched = WatchedFile(path)
        self._take(read_keys(path))

    @property
    def any(self) -> bool:
        """Has there ever been a key? Once there was, nobody gets in without one, not even when the file is gone."""
        self._look()
        return self._any

    def find(self, text: str) -> Key | None:
        """The active key whose text this is."""
        self._look()
        parts = text.split("_", 2)
        key = self._keys.get(parts[1]) if len(parts) == 3 and parts[0] == PREFIX else None
        if key is None or not hmac.compare_digest(_hash(parts[2]), key.sha256):
            return None
        return key if key.state == "active" else None

    def _take(self, file: KeyFile | None) -> None:
        self._keys = {key.id: key for key in file.keys} if file else {}
        self._any = getattr(self, "_any", False) or bool(self._keys)

    def _look(self) -> None:
        if self._watched.changed():
            try:
                self._take(read_keys(self._watched.path))
            except UserError as error:
                # Half a file or a stranger's: nobody is let in, and nobody is thrown out, until it is mended.
                log.error("the keys stay as they were: %s", error)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
