"""Ends what a killed flow leaves running: model servers, builds, Prefect's own server, Ray.

SIGKILL gives a process no time to stop its children. So whatever a flow starts inherits a mark in its environment, and
a small process beside the flow waits for the flow's end and then ends all that carries the mark. The next flow looks
too, before it begins: it must not meet a training that is still writing.
"""

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import psutil

MARK = "_VISIONOPS_FLOW"
GRACE_S = 3.0
ROUNDS = 5
_reapers: dict[int, subprocess.Popen] = {}


def guard() -> None:
    """Marks what this process will start and sets a reaper beside it, once; ends what dead flows left."""
    pid = os.getpid()
    if pid in _reapers:
        return
    end(left_behind())
    mark = f"{namespace()}/{pid}/{uuid4().hex}"
    _reapers[pid] = subprocess.Popen(
        [sys.executable, "-P", str(Path(__file__).resolve()), str(pid), mark],
        env={**os.environ, MARK: ""},  # it ends others, not itself
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C goes to the terminal's whole group, and a group can be killed at once
    )
    os.environ[MARK] = mark


def left_behind() -> list[psutil.Process]:
    """What flows left that are gone. One whose id is in use again counts as there: rather spare than hit."""
    return [process for process, mark in marked() if not _lives(int(mark.split("/")[1]))]


def end(processes: list[psutil.Process]) -> None:
    """Asks them to end, kills after GRACE_S those that did not, and waits for these too."""
    for how in (psutil.Process.terminate, psutil.Process.kill):
        for process in processes:
            with contextlib.suppress(psutil.Error):
                how(process)
        _, processes = psutil.wait_procs(processes, GRACE_S)


def watch(pid: int, mark: str, variable: str = MARK, unless: str = "") -> None:
    """Waits for the process's end, then ends all that carries its mark, and what those started meanwhile.

    unless: a file; where it is there by then, the process had done its work and what it started shall go on.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        flow = psutil.Process(pid)
        while flow.is_running() and flow.status() != psutil.STATUS_ZOMBIE:
            with contextlib.suppress(psutil.TimeoutExpired):
                flow.wait(1)
    if unless and Path(unless).exists():
        return
    for _ in range(ROUNDS):
        end([process for process, other in marked(variable) if other == mark])


def marked(variable: str = MARK) -> list[tuple[psutil.Process, str]]:
    """Processes with a mark of this namespace: a container's ids mean nothing outside it."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            mark = process.environ().get(variable, "")
            if mark.startswith(f"{namespace()}/"):
                found.append((process, mark))
    return found


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error as error:
        return not isinstance(error, psutil.NoSuchProcess)  # another user's, which we may not look at


def namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return "here"


if __name__ == "__main__":
    watch(int(sys.argv[1]), *sys.argv[2:])
