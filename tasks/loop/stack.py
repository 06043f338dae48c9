"""A Prefect server and a worker on this machine, in a folder of their own, and deployments run through them."""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.packaging.smoke import HOST, free_port
from tasks.stack.prefect import deploy, server_command, worker_command, worker_env
from tasks.stack.process import child, wait_until_healthy
from vision.errors import MachineError
from vision.lineage import PROJECT

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

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
    port, health_port = free_port(), free_port()
    api = f"http://{HOST}:{port}/api"
    own = {"PREFECT_HOME": str(folder / "prefect"), **worker_env(api, HOST, health_port)}
    ours, log = {**os.environ, **own, **env}, folder / "prefect-server.log"
    with child(server_command(HOST, port), PROJECT, ours, log) as server:
        wait_until_healthy("the Prefect server", f"{api}/health", server.pid, log)
        deploy(folder, system, ours, schedules=False)
        with child(worker_command(), PROJECT, ours, folder / "prefect-worker.log"):
            yield Stack(api, {**own, **env})


def _failed(what: str) -> MachineError:
    return MachineError(what, "a run that ends Completed", "read the server's and the worker's log beside the state")
