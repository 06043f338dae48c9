"""The stack on this machine: up, down, status. One pid file a service in `<state>/stack`, one command at a time."""

import contextlib
import hashlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psutil
from filelock import FileLock
from pydantic import ValidationError

from tasks import reaper
from tasks.stack.prefect import deploy
from tasks.stack.process import Started, healthy, lives, start, stop, wait_until_healthy
from tasks.stack.services import HEALTH, HOST, LAUNCHES, STOPPED, Launch, Place
from vision.errors import UserError
from vision.lineage import PROJECT

MARK = "_VISIONOPS_STACK"


@dataclass(frozen=True)
class Row:
    """Of the status table. state: up, sick (runs, no health), down, or off with the reason in `where`."""

    name: str
    state: str
    where: str
    pid: int | None = None


def up(place: Place, asked: Mapping[str, int]) -> list[Row]:
    """Starts what does not run yet and waits for its health; what runs is left alone.

    asked: ports that the user named. Whatever fails or kills this command, nothing that it started goes on. Raises
    `UserError` for a port that is taken, or another system that is up, `MachineError` for a service that does not start.
    """
    place.folder.mkdir(parents=True, exist_ok=True)
    with FileLock(place.folder / "lock"):
        running = known(place.folder)
        place = _with_ports(place, running, asked)
        launches = {name: launch(place) for name, launch in LAUNCHES.items() if name not in running}
        wanted = {name: launch for name, launch in launches.items() if isinstance(launch, Launch)}
        _check_ports(place, wanted)
        if wanted:
            with all_or_nothing(place.folder) as env:
                _start(place, wanted, env)
        off = {name: why for name, why in launches.items() if isinstance(why, str)}
        return [Row(name, "off", off[name]) if name in off else row for name, row in _rows(place.folder).items()]


def down(folder: Path) -> list[str]:
    """Ends what `up` started and nothing else; returns the names of what ran."""
    if not folder.is_dir():
        return []
    with FileLock(folder / "lock"):
        ended = []
        running = known(folder)
        for name in STOPPED:
            if name in running:
                stop(running[name].pid)
                ended.append(name)
            (folder / f"{name}.json").unlink(missing_ok=True)
        # What a service left, such as a flow that the worker had begun.
        reaper.end([process for process, mark in reaper.marked(MARK) if mark.startswith(_prefix(folder))])
        return ended


def status(folder: Path) -> list[Row]:
    return list(_rows(folder).values())


def known(folder: Path) -> dict[str, Started]:
    """What runs, by name: pid files whose process is still the one that was started."""
    found = {}
    for name in LAUNCHES:
        with contextlib.suppress(FileNotFoundError, ValidationError):  # one that a killed `up` had begun to write
            one = Started.model_validate_json((folder / f"{name}.json").read_text())
            if lives(one.pid, one.started):
                found[name] = one
    return found


@contextlib.contextmanager
def all_or_nothing(folder: Path) -> Iterator[dict[str, str]]:
    """The environment of what is started inside. If the block raises, or this process dies, all of it is ended."""
    mark = f"{_prefix(folder)}{uuid4().hex}"
    done = folder / f"up-{mark.rpartition('/')[2]}"
    env = {**os.environ, MARK: mark, reaper.MARK: ""}  # the flow's own reaper must let them be
    watcher = (sys.executable, "-P", str(Path(reaper.__file__).resolve()), str(os.getpid()), mark, MARK, str(done))
    reaping = subprocess.Popen(
        watcher, env={**os.environ, reaper.MARK: ""}, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        yield env
    except BaseException:
        reaper.end([process for process, other in reaper.marked(MARK) if other == mark])
        raise
    else:
        done.touch()
    finally:
        reaping.kill()
        reaping.wait()
        done.unlink(missing_ok=True)


def _start(place: Place, wanted: Mapping[str, Launch], env: dict[str, str]) -> None:
    """All that needs no other at once; the worker once its server answers and knows its pool."""
    env = {**env, "PREFECT_HOME": str(place.state.root / "prefect"), "VISIONOPS_STATE": str(place.state.root)}
    env |= {"VISIONOPS_SYSTEM": place.system, "PREFECT_API_URL": place.api}
    early = {name: _launch(place, name, one, env) for name, one in wanted.items() if name != "worker"}
    for one in early.values():
        wait_until_healthy(one.name, one.url + one.health, one.pid, one.log)
    if "worker" in wanted:
        deploy(place.folder, place.system, env, schedules=True)
        one = _launch(place, "worker", wanted["worker"], env)
        wait_until_healthy(one.name, one.url + one.health, one.pid, one.log)


def _launch(place: Place, name: str, launch: Launch, env: Mapping[str, str]) -> Started:
    log = place.folder / f"{name}.log"
    process = start(launch.command, PROJECT, {**env, **launch.env}, log)
    begun = Started(
        name=name,
        pid=process.pid,
        started=psutil.Process(process.pid).create_time(),
        url=place.url(name),
        health=HEALTH[name],
        system=place.system,
        log=log,
    )
    (place.folder / f"{name}.json").write_text(begun.model_dump_json(indent=1))
    return begun


def _with_ports(place: Place, running: Mapping[str, Started], asked: Mapping[str, int]) -> Place:
    """What runs keeps its port. Port 0: a free one."""
    for one in running.values():
        if one.system != place.system:
            raise UserError(f"the stack of system {one.system!r} is up in {place.folder}", "one at a time", "make down")
        if asked.get(one.name, one.port) not in (0, one.port):
            raise UserError(f"{one.name} is up at {one.url}", "another port for what is not up", "make down first")
    ports = {**place.ports, **asked, **{name: one.port for name, one in running.items()}}
    return Place(place.settings, place.state, place.system, {name: port or _free() for name, port in ports.items()})


def _check_ports(place: Place, wanted: Mapping[str, Launch]) -> None:
    taken = [f"{name}={place.ports[name]}" for name in wanted if not _is_free(place.ports[name])]
    if taken:
        raise UserError(
            f"ports are in use by another program: {', '.join(taken)}",
            "free ports",
            f'make up PORTS="{" ".join(one.partition("=")[0] + "=0" for one in taken)}" (0: a free one), or name others',
        )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _free() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def _prefix(folder: Path) -> str:
    """Of the marks of all that was ever started for this folder."""
    return f"{reaper.namespace()}/{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]}/"


def _rows(folder: Path) -> dict[str, Row]:
    running = known(folder)
    rows = {}
    for name in LAUNCHES:
        if name in running:
            one = running[name]
            rows[name] = Row(name, "up" if healthy(one.url + one.health) else "sick", one.url, one.pid)
        else:
            rows[name] = Row(name, "down", "")
    return rows


def table(rows: Sequence[Row]) -> str:
    lines = [f"{'service':12}{'state':7}{'pid':>8}  where"]
    lines += [f"{row.name:12}{row.state:7}{row.pid or '':>8}  {row.where}".rstrip() for row in rows]
    return "\n".join(lines)
