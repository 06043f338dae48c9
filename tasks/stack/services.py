"""What a laptop runs without containers: each service's command, environment and health."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from configs.load import Settings
from configs.paths import StatePaths
from tasks.stack.prefect import server_command, worker_command, worker_env
from vision.lineage import PROJECT

HOST = "127.0.0.1"
PROMETHEUS_YAML = PROJECT / "deploy" / "prometheus" / "prometheus.yaml"
PORTS = {"prefect": 4200, "worker": 8080, "mlflow": 5000, "service": 3000, "prometheus": 9090}
"""By name, in the order of a start; ended in the order of STOPPED: a worker without its server waits for minutes."""
STOPPED = ("worker", "service", "prometheus", "mlflow", "prefect")
HEALTH = {
    "prefect": "/api/health", "worker": "/health", "mlflow": "/health", "service": "/readyz", "prometheus": "/-/ready",
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """What a command line is made from. ports: of all services, by name."""

    settings: Settings
    state: StatePaths
    system: str
    ports: dict[str, int]

    @property
    def folder(self) -> Path:
        """Logs, pid files, written configs."""
        return self.state.root / "stack"

    def url(self, name: str) -> str:
        return f"http://{HOST}:{self.ports[name]}"

    @property
    def api(self) -> str:
        return f"{self.url('prefect')}/api"


@dataclass(frozen=True)
class Launch:
    command: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)


def prefect(place: Place) -> Launch:
    return Launch(server_command(HOST, place.ports["prefect"]))


def worker(place: Place) -> Launch:
    return Launch(worker_command(), worker_env(place.api, HOST, place.ports["worker"]))


def mlflow(place: Place) -> Launch | str:
    """The registry that flows write to, seen in a browser. One worker: the default is four processes of 260 MB."""
    uri = place.settings.mlflow_uri or f"sqlite:///{place.state.mlflow_db}"
    if uri.startswith("http"):
        return "VISIONOPS_MLFLOW_URI names a server elsewhere"
    command = (
        sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(place.ports["mlflow"]), "--workers", "1",
        "--artifacts-destination", str(place.state.mlflow_artifacts), "--serve-artifacts",
        "--allowed-hosts", "localhost:*,127.0.0.1:*",
    )  # fmt: skip
    # In the environment: a command line, with a password in it, is everybody's to read.
    return Launch(command, {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_BACKEND_STORE_URI": uri})


def service(place: Place) -> Launch | str:
    if not place.state.release(place.system).is_file():
        return f"no champion yet: make train SYSTEM={place.system}, then make up again"
    bentoml = (sys.executable, "-m", "bentoml", "serve", ".", "--host", HOST, "--port", str(place.ports["service"]))
    return Launch(bentoml, {"VISIONOPS_SYSTEM": place.system})


def prometheus(place: Place) -> Launch | str:
    program = shutil.which("prometheus")
    if program is None:
        return "not installed (Debian: apt-get install prometheus)"
    command = (
        program, f"--config.file={_scrapes(place)}", f"--storage.tsdb.path={place.folder / 'prometheus'}",
        f"--web.listen-address={HOST}:{place.ports['prometheus']}",
    )  # fmt: skip
    return Launch(command)


def _scrapes(place: Place) -> Path:
    """Our own config, for the service's port and from another folder."""
    config = yaml.safe_load(PROMETHEUS_YAML.read_text())
    config["rule_files"] = [str(PROMETHEUS_YAML.parent / name) for name in config["rule_files"]]
    target = {"targets": [f"{HOST}:{place.ports['service']}"], "labels": {"service": place.system}}
    config["scrape_configs"][0]["static_configs"] = [target]
    path = place.folder / "prometheus.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


LAUNCHES: dict[str, Callable[[Place], Launch | str]] = {
    "prefect": prefect, "worker": worker, "mlflow": mlflow, "service": service, "prometheus": prometheus,
}  # fmt: skip
"""A text in place of a launch says why the service is left out."""
