"""Processes that outlive who started them: a group of their own, a log, a pid file, a wait for health, a sure end."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from vision.errors import MachineError
from vision.settings import Section

START_TIMEOUT_S = 180
STOP_TIMEOUT_S = 15
KILL_TIMEOUT_S = 5
POLL_S = 0.25
SAME_START_S = 2.0
"""A process's start is counted from the boot's, which a corrected clock moves."""
LOG_TAIL_CHARS = 2000


class Started(Section):
    """What a pid file says. started: seconds since the epoch; url: where it answers; health: a path there."""

    name: str
    pid: int
    started: float
    url: str
    health: str
    system: str
    log: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


def start(command: Sequence[str], cwd: Path, env: Mapping[str, str], log: Path) -> subprocess.Popen:
    """Leads a process group of its own; what it says goes to `log`, whose last time is kept beside it as `.1`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_name(f"{log.name}.1"))
    with log.open("wb") as output:
        return subprocess.Popen(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )


def lives(pid: int, started: float | None = None) -> bool:
    """started: another process that got the same id later is not meant."""
    try:
        process = psutil.Process(pid)
        same = started is None or abs(process.create_time() - started) < SAME_START_S
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def stop(pid: int) -> None:
    """Asks the leader to end; what is left of its group after STOP_TIMEOUT_S, or after its end, is killed."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    _wait(pid, STOP_TIMEOUT_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    _wait(pid, KILL_TIMEOUT_S)


def _wait(pid: int, timeout_s: float) -> None:
    """Until it has ended; a zombie has, whoever its parent is."""
    end = time.monotonic() + timeout_s
    while lives(pid) and time.monotonic() < end:
        time.sleep(POLL_S / 5)


@contextlib.contextmanager
def child(command: Sequence[str], cwd: Path, env: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen]:
    """A process that ends, with all that it started in its group, when the block does."""
    process = start(command, cwd, env, log)
    try:
        yield process
    finally:
        stop(process.pid)
        process.wait()


def healthy(url: str) -> bool:
    import httpx

    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(url, timeout=2, trust_env=False).status_code == 200
    return False


def wait_until_healthy(name: str, url: str, pid: int, log: Path, timeout_s: float = START_TIMEOUT_S) -> None:
    """Raises `MachineError` with the log's end when the process ends, or has no 200 at `url` in time."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end and lives(pid):
        if healthy(url):
            return
        time.sleep(POLL_S)
    how = f"gave no answer at {url} in {timeout_s:.0f} s" if lives(pid) else "ended"
    tail = log.read_text(errors="replace")[-LOG_TAIL_CHARS:].strip()
    raise MachineError(f"{name} {how}; its last words:\n{tail}", f"{name}, running and healthy", f"read {log}")
