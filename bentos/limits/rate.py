"""Requests a minute of one client, exact over all processes of a host, in microseconds.

The policy is pyrate-limiter's `SlidingWindowLog`: in no minute, wherever it begins, more than the limit. Its own
multi-process bucket (SQLite and a file lock) takes 107 CPU-microseconds and waits for the disk; `limits` and slowapi
have none. Here the times of a client's last requests lie in a small mapped file, a ring as long as its limit, and a
file lock makes reading and writing them one step. A worker that is killed holds no lock, one that is started again
finds the ring. `bentos.limits.sweep` takes rings away again.
"""

import bisect
import ctypes
import fcntl
import hashlib
import logging
import mmap
import os
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pyrate_limiter import Duration, Rate, SlidingWindowLog

from bentos.limits.sweep import GONE, Sweeper, hold, own_folder, sweep_dead
from vision.errors import MachineError

log = logging.getLogger("bentos.access")

WINDOW_MS = int(Duration.MINUTE)
OPEN_RINGS = 256
"""Rings that one process keeps mapped, each with a file handle (1024 is a common limit); the longest unused is closed."""
NUMBER_BYTES = 8
POLICY = SlidingWindowLog()
_flock = ctypes.PyDLL(None).flock
"""As `fcntl.flock`, and keeps the interpreter's lock: who lets that go here has the file's lock while he waits to get it back
from the engine's thread, and the other workers wait with him."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What one request took. retry_after_ms: None when it was allowed. reset_ms: until the window is all free again."""

    limit: int
    remaining: int
    reset_ms: int
    retry_after_ms: int | None


class Ring:
    """int64 [1 + limit]: how many requests were ever counted, then their times in ms; number n at 1 + n % limit."""

    def __init__(self, path: Path, limit: int) -> None:
        self.rate = Rate(limit, WINDOW_MS)
        self._map = _mapped(path, NUMBER_BYTES * (1 + limit))
        self._numbers = memoryview(self._map).cast("q")

    def take(self, now_ms: int) -> Spent:
        """The lock is held by the caller. now_ms: of a clock that all processes share and that never goes back."""
        numbers, limit = self._numbers, self.rate.limit
        total = numbers[0]
        if total and self._time(total - 1) > now_ms:
            # From before the host was started again: its clock began anew.
            total = 0
        kept = min(total, limit)
        start = POLICY.window_start(self.rate, now_ms)
        oldest = total - kept
        gone = bisect.bisect_left(range(oldest, total), start, key=self._time)
        counted = kept - gone
        decision = POLICY.decide([self.rate], [counted], 1, now_ms, lambda back: self._time(total - 1 - back))
        if decision.allowed:
            # The time first: a process that dies between the two has spent nothing.
            numbers[1 + total % limit] = now_ms
            numbers[0] = total + 1
            counted += 1
        reset_ms = self._time(total) - start + 1 if decision.allowed else self._time(total - 1) - start + 1
        return Spent(limit, limit - counted, reset_ms, decision.retry_after_ms)

    @property
    def gone(self) -> bool:
        """Its file was removed: what is counted here, nobody else sees."""
        return self._numbers[0] == GONE

    def close(self) -> None:
        self._numbers.release()
        self._map.close()

    def _time(self, number: int) -> int:
        return self._numbers[1 + number % self.rate.limit]


class RateLimiter:
    """The rings of one service, in a folder of this host. For one thread: the event loop's."""

    def __init__(self, folder: Path, clock_ms: Callable[[], int] | None = None) -> None:
        """Makes the folder and its parent. Raises `MachineError` where it can't, or one of them is another user's."""
        self._folder = folder
        self._clock_ms = clock_ms or _monotonic_ms
        self._rings: OrderedDict[tuple[str, int], Ring] = OrderedDict()
        self._sweeper = Sweeper(folder, WINDOW_MS)
        try:
            own_folder(folder.parent)
            sweep_dead(folder.parent, self._clock_ms(), WINDOW_MS)
            self._users = hold(folder)
            self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise MachineError(
                f"rates can't be counted in {folder}: {error}", "a temporary folder that can be written", "set TMPDIR"
            ) from None

    def take(self, client: str, limit: int) -> Spent:
        """client: who is counted; only its hash reaches the disk."""
        if _flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB) != 0:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            # Read inside the lock: times in a ring never go back.
            now_ms = self._clock_ms()
            return self._ring(client, limit, now_ms).take(now_ms)
        finally:
            _flock(self._lock, fcntl.LOCK_UN)

    def close(self) -> None:
        for ring in self._rings.values():
            ring.close()
        self._rings.clear()
        os.close(self._lock)
        os.close(self._users)

    def _ring(self, client: str, limit: int, now_ms: int) -> Ring:
        """The lock is held: nobody removes a ring between its opening and its use."""
        known = self._rings.get((client, limit))
        if known is not None and not known.gone:
            self._rings.move_to_end((client, limit))
            return known
        if known is not None:
            self._rings.pop((client, limit)).close()
        self._sweeper.step(now_ms)
        if len(self._rings) >= OPEN_RINGS:
            self._rings.popitem(last=False)[1].close()
        name = hashlib.sha256(client.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        ring = self._rings[client, limit] = Ring(self._folder / f"{name}-{limit}", limit)
        return ring


def _mapped(path: Path, size: int) -> mmap.mmap:
    """The file, shared; where the disk has no room for it, memory of this process alone, so that requests go on."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            # Reserved, not only named: a page that the disk can't give would end the process at its first use.
            os.posix_fallocate(fd, 0, size)
            return mmap.mmap(fd, size)
        finally:
            os.close(fd)
    except OSError as error:
        log.error("%s: %s. Until a restart this client's rate is counted in each worker alone", path, error)
        return mmap.mmap(-1, size)


def host_folder(service: Path) -> Path:
    """Where the rings of one service lie: on this host, whatever the state folder is.

    service: its system folder, which tells it from other services of this user.
    """
    name = hashlib.sha256(str(service.absolute()).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"visionops-{os.getuid()}-rate" / name


def _monotonic_ms() -> int:
    """One clock for all processes of a host; setting the time of day does not move it."""
    return time.monotonic_ns() // 1_000_000
