"""What the service writes down, and what a full or broken disk does to it: a metric and an alarm, never to an answer."""

import contextlib
import fcntl
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from configs.paths import StatePaths
from configs.serving import KeepingConfig
from vision.failures import Failure, failure_line
from vision.records import Feedback, feedback_line, record_line
from vision.records_log import LineLog
from vision.records_seal import drop_old

log = logging.getLogger("bentos.records")

SYNC_S = 1.0
"""A power cut takes what was written in this time and one fsync; the death of the process takes nothing."""
LATE_S = 2.0
"""A sync that is longer under way is late, and said so without waiting for its end."""
ALARM_S = 60.0
SWEEP_S = 3600.0
SALT, SALT_BYTES = ".salt", 32
SWEEP_LOCK = ".sweep.lock"


class GuardedLog:
    """A `LineLog` that never raises: what can't be written is counted, and told at most once a minute."""

    def __init__(self, name: str, folder: Path, metrics: SimpleNamespace) -> None:
        self.name, self.folder, self._log = name, folder, LineLog(folder)
        self._written = metrics.records_written.labels(name)
        self._lost = metrics.records_lost.labels(name)
        self._lag = metrics.record_lag_seconds.labels(name)
        self.losses, self._told_s = 0, -ALARM_S

    def append(self, make: Callable[[], bytes]) -> bool:
        """True once the line of `make()` is safe from the death of this process."""
        try:
            self._log.append(make())
        except Exception as error:  # Whatever it is, the answer comes first.
            self._fail(error)
            return False
        self._written.inc()
        if self.losses:
            self._recover()
        if (waiting_s := self._log.waiting_s) > LATE_S:
            self._lag.set(waiting_s)  # The thread that syncs may hang in it.
        return True

    def sync(self) -> None:
        try:
            self._lag.set(self._log.sync())
        except OSError as error:
            self._lag.set(self._log.waiting_s)
            self._alarm(f"not synced to disk: {error}")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._log.close()

    def _fail(self, error: Exception) -> None:
        self._lost.inc()
        self.losses += 1
        self._alarm(f"{self.losses} lines lost so far: {error}")

    def _alarm(self, what: str) -> None:
        now = time.monotonic()
        if now - self._told_s >= ALARM_S:
            self._told_s = now
            log.error("%s in %s: %s. Answers go on; free or mend the disk", self.name, self._log.folder, what)

    def _recover(self) -> None:
        log.warning("%s are written again; %d lines were lost", self.name, self.losses)
        self.losses, self._told_s = 0, -ALARM_S


class Recorder:
    """The records, feedback and challengers' failures of one worker, and the thread that syncs them and lets old days go."""

    def __init__(self, paths: StatePaths, system: str, keeping: KeepingConfig, metrics: SimpleNamespace) -> None:
        """Opens nothing: a state folder that can't be written shows with the first record."""
        self.folder = paths.records(system)
        self._keeping, self._inbox, self._feedback_folder = keeping, paths.inbox(system), paths.feedback(system)
        self._records = GuardedLog("records", self.folder, metrics)
        self._feedback = GuardedLog("feedback", self._feedback_folder, metrics)
        self._failures = GuardedLog("failures", paths.failures(system), metrics)
        self._logs = (self._records, self._feedback, self._failures)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._swept_s = -SWEEP_S

    def append(self, fields: Mapping[str, Any]) -> bool:
        """fields: those of `vision.records.Record`. Call it before the answer leaves; False when it could not be kept."""
        return self._records.append(lambda: record_line(fields))

    def append_feedback(self, feedback: Feedback) -> bool:
        return self._feedback.append(lambda: feedback_line(feedback))

    def append_failure(self, failure: Failure) -> bool:
        return self._failures.append(lambda: failure_line(failure))

    @property
    def losses(self) -> int:
        """Lines lost since the last one that was written."""
        return sum(each.losses for each in self._logs)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._work, name="records", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Blocks until the last line is synced."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        for each in self._logs:
            each.close()

    def _work(self) -> None:
        while not self._stop.wait(SYNC_S):
            for each in self._logs:
                each.sync()
            if time.monotonic() - self._swept_s >= SWEEP_S:
                self._swept_s = time.monotonic()
                self._try_to_sweep()

    def _try_to_sweep(self) -> None:
        """This thread goes on syncing whatever a sweep meets."""
        try:
            self._sweep()
        except (BlockingIOError, FileNotFoundError):  # Another worker is at it, or there is nothing yet.
            pass
        except Exception as error:
            log.error("old days could not be removed: %s", error)

    def _sweep(self) -> None:
        """One worker of one host at a time. Raises `OSError`."""
        with (self.folder / SWEEP_LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for folder, days in (
                (self.folder, self._keeping.records_days),
                (self._feedback_folder, self._keeping.feedback_days),
                (self._failures.folder, self._keeping.records_days),
                (self._inbox, self._keeping.inbox_days),
            ):
                for day in drop_old(folder, days):
                    log.info("%s/%s is past its %d days and gone", folder.name, day, days)


def client_salt(folder: Path) -> bytes:
    """The secret that clients are hashed with; made once for a records folder, so that all workers agree.

    A folder that can't be written gives one that lasts as long as this process.
    """
    path, fresh = folder / SALT, secrets.token_bytes(SALT_BYTES)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f"{SALT}.{os.getpid()}.{secrets.token_hex(4)}"
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(fresh)
        with contextlib.suppress(FileExistsError):
            os.link(partial, path)  # Whoever is first wins, and nobody reads half a salt.
        partial.unlink()
        return path.read_bytes() or fresh
    except OSError:
        return fresh
