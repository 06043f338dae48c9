"""deploy/compose/compose.yaml without containers: its commands and settings, with this machine's addresses and secrets."""

import contextlib
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tasks.packaging.smoke import free_port
from tasks.stack.process import child, wait_until_healthy
from tests.back_ends import HOST, ObjectStore, Postgres, clean_environment, object_store
from tests.conftest import TINY
from vision.lineage import PROJECT

COMPOSE = PROJECT / "deploy" / "compose" / "compose.yaml"
SECRET = re.compile(r"\$\{(\w+):\?[^}]*\}")
PORTS = {"prefect": 4200, "mlflow": 5000}
START_S, RUN_S = 600, 900


@dataclass
class Composed:
    """PostgreSQL and the object store, with Prefect's and MLflow's servers on them, and flows that use all four."""

    folder: Path
    database: Postgres
    store: ObjectStore
    ports: dict[str, int] = field(default_factory=lambda: {name: free_port() for name in PORTS})
    secrets: dict[str, str] = field(default_factory=dict)
    """By their names in compose.env."""

    def __post_init__(self) -> None:
        known = {"POSTGRES_PASSWORD": self.database.password, "S3_SECRET": self.store.secret}
        self.secrets = {name: known.get(name) or secrets.token_hex(16) for name in SECRET.findall(COMPOSE.read_text())}

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def tiny(self) -> Path:
        return self.folder / "tiny.yaml"

    def url(self, name: str) -> str:
        return f"http://{HOST}:{self.ports[name]}"

    def services(self) -> dict[str, dict]:
        """compose.yaml's, as they run here."""
        text = SECRET.sub(lambda found: self.secrets[found[1]], COMPOSE.read_text())
        for old, new in {
            "AWS_ACCESS_KEY_ID: visionops": f"AWS_ACCESS_KEY_ID: {self.store.key}",
            "postgres:5432": f"{HOST}:{self.database.port}",
            "http://objects:8333": self.store.url,
            "/var/lib/visionops": str(self.state),
            "/etc/visionops": str(COMPOSE.parent),
            "/tmp/prefect": str(self.folder / "prefect"),
            "/dev/shm": str(self.folder),
            "0.0.0.0": HOST,
        }.items():
            assert old in text, old
            text = text.replace(old, new)
        for name, port in PORTS.items():
            text = text.replace(f"{name}:{port}", f"{HOST}:{self.ports[name]}").replace(
                f'"{port}"', f'"{self.ports[name]}"'
            )
        return yaml.safe_load(text)["services"]

    def environment(self, name: str) -> dict[str, str]:
        """Of service `name`; of `worker` without Ray and the webhook, which this stack has not."""
        own = self.services()[name]["environment"]
        absent = ("RAY_", "VISIONOPS_ALERT_WEBHOOK", "PREFECT_WORKER_")
        used = {key: value for key, value in own.items() if not key.startswith(absent)}
        return {**clean_environment(), "NO_PROXY": HOST, "BENTOML_HOME": str(self.state / "bentoml"), **used}

    @contextlib.contextmanager
    def server(self, name: str, health: str) -> Iterator[None]:
        service, log = self.services()[name], self.folder / f"{name}.log"
        command = (*service.get("entrypoint", ()), sys.executable, "-m", *service["command"])
        with child(command, self.folder, self.environment(name), log) as process:
            wait_until_healthy(name, self.url(name) + health, process.pid, log, START_S)
            yield

    def run(self, *words: str | Path, **env: str) -> subprocess.CompletedProcess:
        """`python -m flows.…` as the worker starts it. Its system is `tiny` unless words say otherwise."""
        return subprocess.run(
            (sys.executable, "-m", *map(str, words)), cwd=PROJECT, env={**self.environment("worker"), **env},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=RUN_S, check=False,
        )  # fmt: skip

    def flow(self, name: str, *words: str, **env: str) -> subprocess.CompletedProcess:
        return self.run(f"flows.{name}", "--system", self.tiny, *words, **env)

    def make_bucket(self) -> None:
        """By the container `bucket`'s own command."""
        python = self.services()["bucket"]["command"]
        subprocess.run((sys.executable, *python[1:]), env=self.environment("bucket"), check=True, timeout=60)


@contextlib.contextmanager
def composed(folder: Path) -> Iterator[Composed]:
    database = Postgres()
    try:
        with contextlib.ExitStack() as stack:
            made = Composed(folder, database, stack.enter_context(object_store(folder)))
            made.tiny.write_text(yaml.safe_dump(TINY))
            made.make_bucket()
            stack.enter_context(made.server("mlflow", "/health"))
            stack.enter_context(made.server("prefect", "/api/health"))
            yield made
    finally:
        database.remove()
