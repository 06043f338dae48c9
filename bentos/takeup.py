"""A worker follows its release: the new package is loaded beside the old one, proves itself, and takes its place.

Whoever asked before the swap is answered by the old package, which goes when the last of them has its answer. A package
that fails its check is refused with the reason; the old one stays, and the refused one is looked at again ever more
rarely, for it may only have been copied half-way.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Protocol

from filelock import FileLock

from bentos.lane import Lane, open_lane
from bentos.schemas import RefusedRelease
from bentos.source import Served, open_served, present_release
from vision.errors import ClearError

log = logging.getLogger("bentos.takeup")
RETRY_MAX_S = 300.0
DOUBLINGS = 9
"""2 s doubled so often is past RETRY_MAX_S; a number that grew with every try would end the watch after a thousand."""
TURN_S = 60.0
LOCK = ".take-up.lock"
Stamp = tuple[str, int, int, int]
"""Path, inode, time of change and size of a release file: what a poll costs is one stat."""


class Swapping(Protocol):
    """What answers requests: `bentos.predictor.Predictor`, or later a router of several lanes."""

    lane: Lane

    def swap(self, lane: Lane) -> Lane:
        """From now on `lane` answers; returns the one before, to be closed."""


class TakeUp:
    """One worker's watch. Belongs to the event loop that answers; loads and checks in a thread."""

    def __init__(
        self,
        predictor: Swapping,
        metrics: SimpleNamespace,
        files: Sequence[Path],
        load: Callable[[Served], Lane] = open_lane,
    ) -> None:
        """files: `bentos.source.release_files()`, the first that is there counts. load: a lane that has proved itself."""
        self.predictor, self._metrics, self._files, self._load = predictor, metrics, tuple(files), load
        self.refused: RefusedRelease | None = None
        self._seen: Stamp | None = None
        self._again_s = 0.0
        self._task: asyncio.Task | None = None
        tell_model(metrics, predictor.lane)

    def start(self, poll_s: float) -> None:
        self._task = asyncio.create_task(self._watch(poll_s), name="take-up")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def look(self) -> bool:
        """One look at the release file; True when another release answers after it. Never raises."""
        path = present_release(self._files)
        try:
            stamp = _stamp(path)
            if stamp == self._seen and (self.refused is None or time.monotonic() < self._again_s):
                return False
            self._seen = stamp
            lane = await asyncio.to_thread(self._open, path)
        except Exception as error:  # Whatever is wrong with the new one, the old one goes on.
            self._refuse(error, path)
            return False
        self.refused = None
        if lane is not None:
            await self._swap(lane)
        return lane is not None

    def _open(self, path: Path) -> Lane | None:
        """The lane of the release in `path`; None when it is the one that answers. Blocks for seconds."""
        served, lane = open_served(path), self.predictor.lane
        now = lane.served
        if (served.release.no, served.release.champion) == (now.release.no, now.release.champion):
            return None
        if served.package.package_sha == now.package.package_sha:
            return Lane(served, lane.engine, lane.batcher, lane.route)
        with one_at_a_time(path):
            return self._load(served)

    async def _swap(self, lane: Lane) -> None:
        old = self.predictor.swap(lane)
        self._metrics.release_take_ups.labels("taken").inc()
        tell_model(self._metrics, lane, old)
        log.info("release %d: version %d answers", lane.served.release.no, lane.served.release.champion.version)
        if old.batcher is not lane.batcher:
            await old.close()

    def _refuse(self, error: Exception, path: Path) -> None:
        reason = error.got if isinstance(error, ClearError) else f"{type(error).__name__}: {error}"
        # `/health` is open: it says what is wrong, not where our folders are.
        reason = reason.replace(f"{path.parent}/", "")
        tries = 1 + (self.refused.tries if self.refused is not None and self.refused.reason == reason else 0)
        self.refused = RefusedRelease(reason=reason, at=datetime.now(UTC), tries=tries)
        self._again_s = time.monotonic() + min(RETRY_MAX_S, 2.0 ** min(tries, DOUBLINGS))
        if tries == 1:
            self._metrics.release_take_ups.labels("refused").inc()
            log.error("release refused, the old one goes on: %s", reason)

    async def _watch(self, poll_s: float) -> None:
        while True:
            await asyncio.sleep(poll_s)
            await self.look()


@contextlib.contextmanager
def one_at_a_time(release_file: Path) -> Iterator[None]:
    """Of the workers that follow this file, one loads while the others answer with all their strength.

    Waits at most TURN_S; where no lock can be made (a folder that may only be read) nobody waits.
    """
    lock = FileLock(release_file.with_name(LOCK), timeout=TURN_S)
    with contextlib.suppress(OSError):  # `filelock.Timeout` is one.
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def tell_model(metrics: SimpleNamespace, lane: Lane, old: Lane | None = None) -> None:
    """`model_info` is 1 for the lane that answers and 0 for the one before."""
    if old is not None:
        metrics.model_info.labels(**_info(old)).set(0)
    metrics.model_info.labels(**_info(lane)).set(1)
    metrics.release_no.set(lane.served.release.no)


def _info(lane: Lane) -> dict[str, str]:
    named = {name: str(lane.info[name]) for name in ("system", "version", "package_sha")}
    return {**named, "engine": lane.engine.name, "precision": lane.engine.precision}


def _stamp(path: Path) -> Stamp:
    """Raises `FileNotFoundError` where there is no release (any more)."""
    found = path.stat()
    return str(path), found.st_ino, found.st_mtime_ns, found.st_size
