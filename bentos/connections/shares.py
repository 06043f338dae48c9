"""How many connections each worker of a server has, in a small file that they share.

The rule is that of Envoy's exact connection balance: a new connection goes to the worker that has fewest. Each number in
the file is written by one worker only, so that none needs a lock.
"""

import fcntl
import mmap
import os
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from bentos.limits.sweep import hold, own_folder

PREFIX = "workers-"
NUMBER_BYTES = 8
TAKES, ENDED, TAKEN, GIVEN = 0, 1, 2, 3
"""Of a worker's row: 1 while it takes connections, how many of its have ended, how many it took out of its mailbox, and
from here on how many it gave to each worker, itself among them."""


class Shares:
    """One worker's part. int64 [places, 3 + places]."""

    def __init__(self, numbers: memoryview, places: int, own: int) -> None:
        """own: this worker's place. What an earlier worker in it had has ended with it."""
        self._numbers, self._places, self.own = numbers, places, own
        self._width = GIVEN + places
        self._silent: dict[int, float] = {}
        self._put(ENDED, self._given(own))
        self._put(TAKEN, self._mailed(own))
        self._put(TAKES, 1)

    def choose(self) -> int:
        """Whose the next connection is; this worker's own where nobody has fewer."""
        now_s = time.monotonic()
        takers = [
            place
            for place in range(self._places)
            if self._row(place, TAKES) and self._silent.get(place, now_s) <= now_s
        ]
        loads = {place: self.load(place) for place in takers}
        best = min(loads, key=loads.__getitem__, default=self.own)
        return best if loads.get(best, 0) < loads.get(self.own, 0) else self.own

    def crowded(self) -> bool:
        """Another worker has fewer, by more than the one connection that makes an even split."""
        best = self.choose()
        return best != self.own and self.load(best) + 1 < self.load(self.own)

    def pass_over(self, place: int, seconds: float) -> None:
        """It is not chosen for so long."""
        self._silent[place] = time.monotonic() + seconds

    def load(self, place: int) -> int:
        return self._given(place) - self._row(place, ENDED)

    def mail(self, place: int) -> int:
        """Connections that were sent to this worker, and that it has not looked at."""
        return self._mailed(place) - self._row(place, TAKEN)

    def give(self, place: int) -> None:
        self._put(GIVEN + place, self._row(self.own, GIVEN + place) + 1)

    def take(self) -> None:
        """One out of the mailbox."""
        self._put(TAKEN, self._row(self.own, TAKEN) + 1)

    def end(self) -> None:
        """One of this worker's connections is over."""
        self._put(ENDED, self._row(self.own, ENDED) + 1)

    def leave(self) -> None:
        """Takes none any more."""
        self._put(TAKES, 0)

    def _given(self, place: int) -> int:
        return sum(self._numbers[GIVEN + place :: self._width])

    def _mailed(self, place: int) -> int:
        return self._given(place) - self._row(place, GIVEN + place)

    def _row(self, place: int, field: int) -> int:
        return self._numbers[place * self._width + field]

    def _put(self, field: int, number: int) -> None:
        self._numbers[self.own * self._width + field] = number


@dataclass(frozen=True)
class Meeting:
    """Where the workers of one server meet. folder: of their service on this host. server: their parent's process id."""

    folder: Path
    server: int
    places: int

    def mailbox(self, place: int) -> Path:
        return self.folder / f"{PREFIX}{self.server}-mail{place}"

    def join(self) -> Shares:
        """Raises `OSError`, also where more workers come than there are places."""
        own_folder(self.folder.parent)
        hold(self.folder)  # as long as this process lives
        _remove_dead(self.folder)
        file = os.open(
            self.folder / f"{PREFIX}{self.server}-{self.places}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600
        )
        try:
            size = NUMBER_BYTES * self.places * (GIVEN + self.places)
            # Reserved, not only named: a page that the disk can't give would end the process at its first use.
            os.posix_fallocate(file, 0, size)
            numbers = memoryview(mmap.mmap(file, size)).cast("q")
            return Shares(numbers, self.places, self._free_place())
        finally:
            os.close(file)

    def _free_place(self) -> int:
        """Nobody's, or of a worker that has ended: the kernel lets go of its lock. This one's lasts as long as the process."""
        for place in range(self.places):
            path = self.folder / f"{PREFIX}{self.server}-lock{place}"
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return place
            except BlockingIOError:
                os.close(lock)
        raise OSError(f"more than {self.places} workers")


def _remove_dead(folder: Path) -> None:
    """Files of servers that have ended."""
    for path in folder.glob(f"{PREFIX}*"):
        server = path.name.removeprefix(PREFIX).partition("-")[0]
        if server.isdigit() and not psutil.pid_exists(int(server)):
            path.unlink(missing_ok=True)
