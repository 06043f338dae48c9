"""Prediction ids: UUIDv7 (RFC 9562, section 5.7), whose random bits are read from the system for many at a time.

`uuid6.uuid7` reads them for each id, for which the event loop gives the interpreter away and waits to get it back; and
it moves the clock on by a millisecond for each id within one, so that a thousand ids a second run ahead of the time.
"""

import os
import time
from collections.abc import Callable

RANDOM_BYTES = 10
AHEAD = 512
NS_PER_MS = 1_000_000
VERSION, VARIANT = 7, 0b10


class Ids:
    """For one thread. A process that is forked draws its own."""

    def __init__(self, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._clock_ns, self._left, self._pid = clock_ns, b"", 0

    def next(self) -> str:
        if not self._left or self._pid != os.getpid():
            self._left, self._pid = os.urandom(AHEAD * RANDOM_BYTES), os.getpid()
        drawn, self._left = int.from_bytes(self._left[-RANDOM_BYTES:]), self._left[:-RANDOM_BYTES]
        first, last = drawn >> 68, drawn & (1 << 62) - 1
        low = f"{VARIANT << 62 | last:016x}"
        made = f"{self._clock_ns() // NS_PER_MS:012x}"
        return f"{made[:8]}-{made[8:]}-{VERSION}{first:03x}-{low[:4]}-{low[4:]}"
