"""Rings go once they say nothing any more: a minute after their last request, whoever made them.

A server that is started again within a minute goes on counting, so rings outlive their server, and the next server of
this user removes them. A running server looks at a few for each new client, so that its folder is at most a third
larger than its clients of the last minute are.
"""

import contextlib
import fcntl
import os
import re
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

USERS = "users"
"""Each process that counts in a folder holds this file in it, shared; the kernel lets go of it for the dead."""
SERVICE = re.compile(r"[0-9a-f]{16}")
RING = re.compile(r"[0-9a-f]{32}-\d+")
LOOKS = 4
"""Rings that are looked at for each new one."""
NUMBER = struct.Struct("=q")
GONE = -1
"""Stands for the count in a ring whose file is removed: who still has it mapped opens it anew."""


class Sweeper:
    """Goes round and round in one folder, a few rings a step. The caller holds the folder's lock."""

    def __init__(self, folder: Path, window_ms: int) -> None:
        self._folder, self._window_ms = folder, window_ms
        self._round: Iterator[Path] = iter(())

    def step(self, now_ms: int) -> None:
        with contextlib.suppress(OSError):
            for path in self._next():
                drop_spent(path, now_ms, self._window_ms)

    def _next(self) -> list[Path]:
        found = [path for _, path in zip(range(LOOKS), self._round, strict=False)]
        if len(found) < LOOKS:
            self._round = iter([path for path in self._folder.iterdir() if RING.fullmatch(path.name)])
        return found


def own_folder(folder: Path) -> None:
    """Made if need be. The temporary folder is everybody's: what lies there under our name must be ours, and no link.

    Raises `OSError`.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(f"{folder} is not this user's folder")


def hold(folder: Path) -> int:
    """A file handle that keeps the folder from being taken for a dead server's; the folder is made. Raises `OSError`."""
    while True:
        own_folder(folder)
        with contextlib.suppress(FileNotFoundError):  # Removed between the two steps, or while we waited: once more.
            fd = os.open(folder / USERS, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            fcntl.flock(fd, fcntl.LOCK_SH)
            if os.fstat(fd).st_nlink:
                return fd
            os.close(fd)


def sweep_dead(services: Path, now_ms: int, window_ms: int) -> None:
    """Removes the spent rings of all folders in `services` that nobody holds, and each folder that has no other."""
    for folder in list(services.iterdir()):
        if SERVICE.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink():
            with contextlib.suppress(OSError), _unused(folder):
                _clear(folder, now_ms, window_ms)


def drop_spent(path: Path, now_ms: int, window_ms: int) -> bool:
    """Removes the ring when no request of the last `window_ms` stands in it. Raises `OSError`."""
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    try:
        if now_ms - window_ms <= _last_ms(fd) <= now_ms:
            return False
        os.pwrite(fd, NUMBER.pack(GONE), 0)
        path.unlink()
        return True
    finally:
        os.close(fd)


def _last_ms(fd: int) -> int:
    """When the ring's last request came; a ring of before the host's start has times that are yet to come."""
    slots = os.fstat(fd).st_size // NUMBER.size - 1
    if slots < 1:
        return GONE
    [total] = NUMBER.unpack(os.pread(fd, NUMBER.size, 0))
    if total < 1:
        return GONE
    return NUMBER.unpack(os.pread(fd, NUMBER.size, NUMBER.size * (1 + (total - 1) % slots)))[0]


@contextlib.contextmanager
def _unused(folder: Path) -> Iterator[None]:
    """Raises `BlockingIOError` when a process counts there. Who wants to begin waits until this ends."""
    fd = os.open(folder / USERS, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(fd)


def _clear(folder: Path, now_ms: int, window_ms: int) -> None:
    rings = [path for path in folder.iterdir() if RING.fullmatch(path.name)]
    dropped = [drop_spent(path, now_ms, window_ms) for path in rings]
    if all(dropped):
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
