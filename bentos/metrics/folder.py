"""Where this server's workers put their counts: a folder of the server's own.

BentoML gives every server of one BENTOML_HOME the same folder and empties it whenever one starts, so a second system
on the machine would silently take the first one's metrics away. prometheus_client takes the folder from the
environment and nowhere else.
"""

import contextlib
import os
import shutil
from pathlib import Path

import psutil

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def take_own_folder() -> None:
    """Points this worker to the folder of its server, and removes those of servers that are gone.

    Does nothing in a process that BentoML didn't start. Call it before the first metric is made.
    """
    given = os.environ.get(VARIABLE)
    if given is None:
        return
    shared = Path(given)
    own = shared.with_name(f"{shared.name}-{_named(psutil.Process(os.getppid()))}")
    own.mkdir(parents=True, exist_ok=True)
    os.environ[VARIABLE] = str(own)
    for folder in shared.parent.glob(f"{shared.name}-*-*"):
        if folder != own and not _runs(folder.name.removeprefix(f"{shared.name}-")):
            shutil.rmtree(folder, ignore_errors=True)


def _named(server: psutil.Process) -> str:
    """pid and start: a number that is given to another process later is not this one."""
    return f"{server.pid}-{server.create_time():.0f}"


def _runs(named: str) -> bool:
    with contextlib.suppress(psutil.Error, ValueError):
        return _named(psutil.Process(int(named.split("-")[0]))) == named
    return False
