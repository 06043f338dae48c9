"""Appends lines to a log of day folders. A line that `append` returned from survives the death of the process."""

import contextlib
import errno
import fcntl
import os
import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from vision.records import day_folder, day_number

OPEN_TRIES = 8
FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
MODE = 0o640


class LineLog:
    """The part of a log that this process writes: a file a day, of its own, with one write(2) a line.

    The file stays locked (flock) while it may grow, so that a sealer on this or another host leaves it alone; the kernel
    drops the lock of a process that dies. What is written is safe from the process's death at once and from the
    machine's after the next `sync`. May be called from several threads.
    """

    def __init__(self, folder: Path, today: Callable[[], int] = day_number) -> None:
        """today: the day number, UTC. Opens nothing yet."""
        self.folder, self._today = folder, today
        self._lock = threading.Lock()
        self._fd, self._day, self._bytes = -1, -1, 0
        self._path: Path | None = None
        self._retired: list[int] = []
        self._dirty_since: float | None = None
        self._syncing_since: float | None = None

    @property
    def waiting_s(self) -> float:
        """For how long the oldest line that is not synced has been written; 0.0 when all are."""
        since = [at for at in (self._syncing_since, self._dirty_since) if at is not None]
        return time.monotonic() - min(since) if since else 0.0

    def append(self, line: bytes) -> None:
        """line: ends with a newline. Raises `OSError` when it could not be written; then no part of it is left."""
        with self._lock:
            day = self._today()
            if day != self._day or self._fd < 0:
                self._retire()
                self._open(day)
            self._write(line)
            if self._dirty_since is None:
                self._dirty_since = time.monotonic()

    def sync(self) -> float:
        """fsync of all that was appended before; closes the files of days that are over.

        Returns the seconds for which the oldest of those lines was at the mercy of the machine's power supply.
        Raises `OSError`.
        """
        with self._lock:
            gone = self._fd >= 0 and os.fstat(self._fd).st_nlink == 0
            if self._fd >= 0 and (gone or self._today() != self._day):
                self._retire()
            retired, self._retired = self._retired, []
            since, self._dirty_since = self._dirty_since, None
            self._syncing_since = since
            current = os.dup(self._fd) if self._fd >= 0 and since is not None else -1
        try:
            for fd in (*retired, *([current] if current >= 0 else [])):
                os.fsync(fd)
        except OSError:
            self._dirty_since = since
            raise
        finally:
            self._syncing_since = None
            for fd in (*retired, *([current] if current >= 0 else [])):
                os.close(fd)
        if gone:
            raise FileNotFoundError(errno.ENOENT, "the file was removed while it was written", str(self._path))
        return 0.0 if since is None else time.monotonic() - since

    def close(self) -> None:
        """Raises `OSError` when the last lines could not be synced."""
        with self._lock:
            self._retire()
        self.sync()

    def _write(self, line: bytes) -> None:
        written = os.write(self._fd, line)
        if written != len(line):
            self._cut()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        self._bytes += written

    def _cut(self) -> None:
        """Takes half a line away again; where that fails, the next line goes to a new file."""
        try:
            os.ftruncate(self._fd, self._bytes)
        except OSError:
            self._retire()

    def _retire(self) -> None:
        if self._fd >= 0:
            self._retired.append(self._fd)
        self._fd = -1

    def _open(self, day: int) -> None:
        """A file that nobody else writes: `boot` tells its name from that of an earlier process with our pid."""
        folder = self.folder / day_folder(day)
        folder.mkdir(parents=True, exist_ok=True)
        host = re.sub(r"[^\w.]", "_", socket.gethostname())
        boot = time.time_ns() // 1_000_000
        for number in range(OPEN_TRIES):
            path = folder / f"{host}-{os.getpid()}-{boot + number:x}.ndjson"
            with contextlib.suppress(FileExistsError):
                fd = os.open(path, FLAGS, MODE)
                if _locked(fd):
                    self._fd, self._day, self._bytes, self._path = fd, day, 0, path
                    return
                os.close(fd)
        raise FileExistsError(errno.EEXIST, "no free name for a log file", str(folder))


def _locked(fd: int) -> bool:
    """Takes the lock; False when a sealer was faster. A file system without locks counts as locked."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return os.fstat(fd).st_nlink > 0
