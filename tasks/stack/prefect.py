"""Prefect's server, its worker and the deployments of one system, as command lines."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from configs.load import load_system
from vision.errors import MachineError
from vision.lineage import PROJECT

PREFECT = (sys.executable, "-m", "prefect")
POOL = "local"
COMMAND_TIMEOUT_S = 180
USUAL = "quickstart"
"""The system whose deployments those of every other are like."""


def server_command(host: str, port: int) -> tuple[str, ...]:
    return (*PREFECT, "server", "start", "--host", host, "--port", str(port))


def worker_command() -> tuple[str, ...]:
    return (*PREFECT, "worker", "start", "--pool", POOL, "--type", "process", "--with-healthcheck")


def worker_env(api: str, host: str, health_port: int) -> dict[str, str]:
    return {
        "PREFECT_API_URL": api,
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PREFECT_WORKER_WEBSERVER_HOST": host,
        "PREFECT_WORKER_WEBSERVER_PORT": str(health_port),
    }


def deploy(folder: Path, system: str, env: Mapping[str, str], schedules: bool) -> None:
    """Makes the pool and writes the deployments of `system` to the server. Both may be there already."""
    _make_pool(env)
    place = _deployments(folder, system, schedules)
    _prefect(env, "--no-prompt", "deploy", "--all", "--prefect-file", str(place))


def _make_pool(env: Mapping[str, str]) -> None:
    """Of two deploys at once the second to create it fails, and finds it there."""
    there, words = ("work-pool", "inspect", POOL), ("work-pool", "create", "--type", "process", POOL)
    if _done(env, *there):
        return
    made = _ran(env, *words)
    if made.returncode != 0 and not _done(env, *there):
        raise _failed(words, made)


def _deployments(folder: Path, system: str, schedules: bool) -> Path:
    """prefect.yaml with this system's deployments alone; without schedules they run when they are told to."""
    whole = yaml.safe_load((PROJECT / "prefect.yaml").read_text())
    whole.pop("definitions", None)
    own = deployments_of(system, whole["deployments"])
    whole["deployments"] = own if schedules else [{**deployment, "schedules": []} for deployment in own]
    place = folder / "prefect.yaml"
    place.write_text(yaml.safe_dump(whole, sort_keys=False))
    return place


def deployments_of(system: str, known: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that are known of `system` (a name or a YAML's path); of a system that somebody added, the usual ones under its name."""
    own = [deployment for deployment in known if deployment["parameters"]["system"] == system]
    usual = [deployment for deployment in known if deployment["parameters"]["system"] == USUAL]
    return own or [renamed(deployment, system, load_system(system).system) for deployment in usual]


def renamed(deployment: dict[str, Any], system: str, name: str) -> dict[str, Any]:
    """The same of another system: `name`, which its flows find as `system`."""
    event = "visionops.system."
    made = json.loads(json.dumps(deployment).replace(f"{event}{deployment['name']}", f"{event}{name}"))
    return made | {"name": name, "parameters": {**made["parameters"], "system": system}}


def _prefect(env: Mapping[str, str], *words: str) -> None:
    done = _ran(env, *words)
    if done.returncode != 0:
        raise _failed(words, done)


def _failed(words: Sequence[str], done: subprocess.CompletedProcess) -> MachineError:
    return MachineError(
        f"prefect {' '.join(words)}:\n{done.stdout[-1500:]}{done.stderr[-1500:]}",
        "a command that ends with code 0",
        "read the server's log beside the state",
    )


def _done(env: Mapping[str, str], *words: str) -> bool:
    return _ran(env, *words).returncode == 0


def _ran(env: Mapping[str, str], *words: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        (*PREFECT, *words), cwd=PROJECT, env=env, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False,
    )  # fmt: skip
