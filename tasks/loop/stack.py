"""A Prefect server and a worker on this machine, in a folder of their own, and deployments run through them."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tasks.packaging.smoke import HOST, free_port
from vision.errors import MachineError

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

ROOT = Path(__file__).parents[2]
PREFECT = (sys.executable, "-m", "prefect")
START_TIMEOUT_S = 180
COMMAND_TIMEOUT_S = 180
STOP_TIMEOUT_S = 15
POLL_S = 1.0


@dataclass(frozen=True)
class Stack:
    """A running server with a worker. `env`: what a process needs to speak to it."""

    api: str
    env: dict[str, str]

    def run(self, deployment: str, timeout_s: float, **parameters: Any) -> "FlowRun":
        """Runs `<flow>/<deployment>` on the worker and waits. Raises `MachineError` when it ends Failed or Crashed."""
        with self._client() as client:
            known = client.read_deployment_by_name(deployment)
            started = client.create_flow_run_from_deployment(known.id, parameters=parameters)
        return self.wait(started.id, timeout_s)

    def latest(self, deployment: str) -> "FlowRun | None":
        """The run of this deployment that was made last, whoever asked for it."""
        from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
        from prefect.client.schemas.sorting import FlowRunSort

        with self._client() as client:
            known = client.read_deployment_by_name(deployment)
            runs = client.read_flow_runs(
                deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[known.id])),
                sort=FlowRunSort.EXPECTED_START_TIME_DESC,
                limit=1,
            )
        return runs[0] if runs else None

    def wait(self, flow_run_id: Any, timeout_s: float) -> "FlowRun":
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            with self._client() as client:
                run = client.read_flow_run(flow_run_id)
            if run.state is not None and run.state.is_final():
                if run.state.is_completed():
                    return run
                raise _failed(f"{run.name} ended {run.state.name}: {run.state.message}")
            time.sleep(POLL_S)
        raise _failed(f"{run.name} was not done after {timeout_s:.0f} s")

    @contextlib.contextmanager
    def _client(self) -> Iterator[Any]:
        from prefect.client.orchestration import get_client
        from prefect.settings import PREFECT_API_URL, temporary_settings

        with temporary_settings({PREFECT_API_URL: self.api}), get_client(sync_client=True) as client:
            yield client


@contextlib.contextmanager
def local_stack(folder: Path, env: Mapping[str, str], system: str) -> Iterator[Stack]:
    """Server, worker and the deployments of `system` as prefect.yaml has them, less their schedules, until the block ends.

    env: on top of this process's, for the server, the worker and all that it runs. Logs lie in `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    api = f"http://{HOST}:{port}/api"
    own = {"PREFECT_HOME": str(folder / "prefect"), "PREFECT_API_URL": api, "PREFECT_WORKER_QUERY_SECONDS": "2"}
    ours = {**os.environ, **own, **env}
    stack = Stack(api, {**own, **env})
    server = (*PREFECT, "server", "start", "--host", HOST, "--port", str(port))
    worker = (*PREFECT, "worker", "start", "--pool", "local", "--type", "process")
    with child(server, ours, folder / "prefect-server.log") as process:
        _wait_until_healthy(api, process, folder / "prefect-server.log")
        _prefect(ours, "work-pool", "create", "--type", "process", "local")
        _prefect(ours, "--no-prompt", "deploy", "--all", "--prefect-file", str(_deployments(folder, system)))
        with child(worker, ours, folder / "prefect-worker.log"):
            yield stack


def _deployments(folder: Path, system: str) -> Path:
    """prefect.yaml with this system's deployments alone; they run when they are told to."""
    whole = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    whole.pop("definitions", None)
    own = [deployment for deployment in whole["deployments"] if deployment["parameters"]["system"] == system]
    whole["deployments"] = [{**deployment, "schedules": []} for deployment in own]
    place = folder / "prefect.yaml"
    place.write_text(yaml.safe_dump(whole, sort_keys=False))
    return place


@contextlib.contextmanager
def child(command: Sequence[str], env: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen]:
    """A process in a group of its own, ended with all that it started when the block ends."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_until_healthy(api: str, process: subprocess.Popen, log: Path) -> None:
    import httpx

    end = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{api}/health", timeout=2, trust_env=False).status_code == 200:
                return
        time.sleep(POLL_S / 2)
    raise MachineError(
        f"the Prefect server did not start:\n{log.read_text(errors='replace')[-2000:].strip()}",
        f"a server that answers within {START_TIMEOUT_S} s",
        f"read {log}",
    )


def _prefect(env: Mapping[str, str], *words: str) -> None:
    done = subprocess.run(
        (*PREFECT, *words), cwd=ROOT, env=env, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise _failed(f"prefect {' '.join(words)}:\n{done.stdout[-1500:]}{done.stderr[-1500:]}")


def _failed(what: str) -> MachineError:
    return MachineError(what, "a run that ends Completed", "read the server's and the worker's log beside the state")
