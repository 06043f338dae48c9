"""A worker follows its release: a new package is loaded beside the old one, proves itself, and takes its place.

Whoever asked before the swap is answered by the lane of before, which goes when the last of them has its answer. What
stays the same keeps its engine: a challenger that becomes champion is not loaded again. A champion that fails its check
is refused with the reason, and the old release stays; without a challenger that fails its own the release goes on.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from filelock import FileLock

from bentos.batching.lane import CANARY, CHAMPION, CLOSE_S, SHADOW, Lane, open_lane
from bentos.releasing.failures import Failures
from bentos.releasing.refusal import Refusal
from bentos.releasing.router import Lanes, Router
from bentos.releasing.source import Served, open_model, present_release, released
from vision.release import Release, ReleasedModel, package_folder

log = logging.getLogger("bentos.takeup")
TURN_S = 60.0
LOCK = ".take-up.lock"
ROUTES = {"shadow": SHADOW, "canary": CANARY}
Stamp = tuple[str, int, int, int]
"""Path, inode, time of change and size of a release file: what a poll costs is opening it."""


class TakeUp:
    """One worker's watch. Belongs to the event loop that answers; loads and checks in a thread."""

    def __init__(
        self,
        router: Router,
        metrics: SimpleNamespace,
        files: Sequence[Path],
        failures: Failures,
        load: Callable[[Served, str], Lane] = open_lane,
    ) -> None:
        """files: `bentos.releasing.source.release_files()`, the first that is there counts. load: a lane that has proved itself."""
        self._router, self._metrics, self._files = router, metrics, tuple(files)
        self._failures, self._load = failures, load
        self.refused, self.refused_challenger = Refusal(), Refusal()
        self._seen: Stamp | None = None
        self._task: asyncio.Task | None = None
        self._closing: set[asyncio.Task] = set()
        self._told_no: int | None = None
        tell_model(metrics, router.lanes.champion)

    def start(self, poll_s: float) -> None:
        self._task = asyncio.create_task(self._watch(poll_s), name="take-up")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def look(self) -> bool:
        """One look at the release file; True when other lanes answer after it. Never raises."""
        path = present_release(self._files)
        try:
            stamp = _stamp(path)
            if stamp == self._seen and not (self.refused.due or self.refused_challenger.due):
                return False
            self._seen = stamp
            lanes, failed = await asyncio.to_thread(self._open, path)
        except Exception as error:  # Whatever is wrong with the new one, the old one goes on.
            self._refuse(error, path)
            return False
        self.refused.clear()
        self._note_challenger(lanes.release, failed, path)
        if _same(lanes, self._router.lanes):
            return False
        await self._swap(lanes)
        return True

    def _open(self, path: Path) -> tuple[Lanes, Exception | None]:
        """The lanes of the release in `path`, and why its challenger has none. Blocks for seconds."""
        release = released(path)
        champion = self._lane(path, release, release.champion, CHAMPION)
        if release.challenger is None:
            return Lanes(release, champion), None
        try:
            return Lanes(release, champion, self._lane(path, release, release.challenger, ROUTES[release.mode])), None
        except Exception as error:
            return Lanes(release, champion), error

    def _lane(self, path: Path, release: Release, model: ReleasedModel, route: str) -> Lane:
        """A lane that answers already is the same one, or keeps its engine and queue under another name."""
        known = self._router.lanes.find(model.package_sha)
        if known is None:
            served = open_model(path, release, model)
            with self._turn(path):
                return self._load(served, route)
        if (known.served.release, known.served.model, known.route) == (release, model, route):
            return known
        return known.renamed(_served(known.served, path, release, model), route)

    def _turn(self, path: Path) -> contextlib.AbstractContextManager[None]:
        """Before the watch has begun this worker answers nobody, and waits for nobody."""
        return contextlib.nullcontext() if self._task is None else one_at_a_time(path)

    async def _swap(self, lanes: Lanes) -> None:
        old = self._router.swap(lanes)
        self._metrics.release_take_ups.labels("taken").inc()
        tell_model(self._metrics, lanes.champion, old.champion)
        release = lanes.release
        log.info("release %d (%s): version %d answers", release.no, release.mode, release.champion.version)
        kept = {id(lane.batcher) for lane in lanes}
        await self._close([lane for lane in old if id(lane.batcher) not in kept])

    async def _close(self, lanes: Iterable[Lane]) -> None:
        tasks = {asyncio.create_task(lane.close(), name="lane-close") for lane in lanes}
        self._closing |= tasks
        for task in tasks:
            task.add_done_callback(self._closing.discard)
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_S)

    def _refuse(self, error: Exception, path: Path) -> None:
        said = self.refused.add(error, path.parent)
        if said.tries == 1:
            self._metrics.release_take_ups.labels("refused").inc()
            log.error("release refused, the old one goes on: %s", said.reason)

    def _note_challenger(self, release: Release, error: Exception | None, path: Path) -> None:
        """One failure for each release, however often it is looked at."""
        if error is None:
            self.refused_challenger.clear()
            return
        said = self.refused_challenger.add(error, path.parent)
        if self._told_no != release.no:
            self._told_no = release.no
            self._metrics.release_take_ups.labels("refused").inc()
            log.error("challenger of release %d refused, the champion goes on: %s", release.no, said.reason)
            self._failures.add(release, release.challenger, "load", said.reason)

    async def _watch(self, poll_s: float) -> None:
        while True:
            await asyncio.sleep(poll_s)
            await self.look()


def _same(new: Lanes, now: Lanes) -> bool:
    return (new.release, new.champion, new.challenger) == (now.release, now.champion, now.challenger)


def _served(known: Served, path: Path, release: Release, model: ReleasedModel) -> Served:
    """Raises `UserError` where the package lies elsewhere now and is not what the release says."""
    if package_folder(path, model) == known.package.folder:
        return replace(known, release=release, model=model)
    return open_model(path, release, model)


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
    # Opened, not only asked for: over NFS (a volume that replicas share) known attributes may be a minute old.
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
    return str(path), found.st_ino, found.st_mtime_ns, found.st_size
