"""MLflow as deploy/compose starts it, on this machine: who has no login gets nothing, a reader reads, flows write.

With deploy/compose/mlflow.sh and the command of compose.yaml; SQLite where compose has PostgreSQL.
"""

import importlib.util
import os
import secrets
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from tasks.packaging.smoke import free_port
from tasks.services import check_service
from tasks.stack.process import child, wait_until_healthy
from tasks.tracking import CHAMPION, Tracker, alias_version, register_version
from vision.errors import UserError

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "compose"
SETTING = "VISIONOPS_MLFLOW_URI"
SEARCH = "/api/2.0/mlflow/experiments/search?max_results=5"
CLOSED = (
    "/", SEARCH, "/api/2.0/mlflow/registered-models/search", "/api/2.0/mlflow-artifacts/artifacts", "/graphql",
    "/ajax-api/2.0/mlflow/experiments/search?max_results=5", "/api/2.0/mlflow/users/get?username=visionops",
    "/get-artifact?path=a&run_uuid=b", "/metrics", "/version",
)  # fmt: skip
pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        importlib.util.find_spec("flask_wtf") is None, reason="no Flask-WTF: uv pip install 'mlflow[auth]'"
    ),
]


@dataclass
class Registry:
    folder: Path
    port: int
    password: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def command(self) -> list[str]:
        service = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]["mlflow"]
        words = [sys.executable, "-m", *service["command"]]
        ours = {"0.0.0.0": "127.0.0.1", "5000": str(self.port), "s3://visionops/mlflow": str(self.folder / "artifacts")}
        words = [ours.get(word, word) for word in words]
        words[words.index("--workers") + 1] = "1"
        return [service["entrypoint"][0], str(FOLDER / "mlflow.sh"), *words]

    @property
    def environment(self) -> dict[str, str]:
        names = ("MLFLOW_", "VISIONOPS")
        rest = {name: value for name, value in os.environ.items() if not name.startswith(names)}
        return {
            **rest,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{self.folder / 'mlflow.db'}",
            "MLFLOW_AUTH_CONFIG_PATH": str(self.folder / "login.ini"),
            "MLFLOW_AUTH_ADMIN_USERNAME": "visionops",
            "MLFLOW_AUTH_ADMIN_PASSWORD": self.password,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
        }


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    made = Registry(tmp_path_factory.mktemp("registry"), free_port(), secrets.token_hex(16))
    log = made.folder / "server.log"
    with child(made.command, made.folder, made.environment, log) as process:
        wait_until_healthy("mlflow", f"{made.url}/health", process.pid, log)
        yield made
    assert made.password not in log.read_text()


@pytest.fixture
def enter(monkeypatch):
    """`enter(user, password)`: as whom this process asks."""
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def put(user: str = "", password: str = "") -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", user)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)

    put()
    return put


def test_without_a_password_it_does_not_start(tmp_path):
    without = Registry(tmp_path, free_port(), "")
    done = subprocess.run(
        without.command, cwd=tmp_path, env=without.environment, capture_output=True, text=True, timeout=180
    )
    assert done.returncode != 0 and "password" in done.stderr


def test_only_health_is_open(server, enter):
    with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as client:
        assert client.get("/health").status_code == 200
        assert {path: client.get(path).status_code for path in CLOSED} == dict.fromkeys(CLOSED, 401)
        assert client.post("/api/2.0/mlflow/experiments/create", json={"name": "x"}).status_code == 401
    with pytest.raises(UserError, match="does not let us in"):
        check_service(server.url, SETTING)
    enter("visionops", "wr0ng-wr0ng-wr0ng")
    with pytest.raises(UserError, match="does not let us in"):
        check_service(server.url, SETTING)


def test_flows_record_register_and_promote_with_their_login(server, enter, tmp_path):
    enter("visionops", server.password)
    check_service(server.url, SETTING)
    tracker = Tracker(server.url, None, "leaf")
    run_id = tracker.open_run("key-1", "resnet18", {})
    tracker.log_metrics(run_id, {"accuracy": 0.9})
    (tmp_path / "spec.json").write_text("{}")
    tracker.log_folder(run_id, tmp_path, f"package/{'a' * 64}")
    version = register_version(tracker, run_id, "a" * 64, {})
    tracker.client.set_registered_model_alias("leaf", CHAMPION, str(version.version))
    assert alias_version(tracker, CHAMPION).package_sha == "a" * 64


def test_another_user_of_the_team_reads_and_changes_nothing(server, enter):
    from mlflow.exceptions import MlflowException
    from mlflow.server import get_app_client

    enter("visionops", server.password)
    reader = secrets.token_hex(16)
    get_app_client("basic-auth", server.url).create_user("ann", reader)
    enter("ann", reader)
    tracker = Tracker(server.url, None, "leaf")
    assert alias_version(tracker, CHAMPION).version == 1
    run = tracker.client.search_runs([tracker.experiment_id()])[0]
    assert run.data.metrics == {"accuracy": 0.9}
    for change in (
        lambda: tracker.client.delete_registered_model_alias("leaf", CHAMPION),
        lambda: tracker.client.log_metric(run.info.run_id, "accuracy", 1.0),
        lambda: get_app_client("basic-auth", server.url).create_user("bob", reader),
    ):
        with pytest.raises(MlflowException, match=r"(?i)permission denied"):
            change()


def test_the_password_of_the_flows_can_be_changed(server, enter):
    """Runs last."""
    from mlflow.server import get_app_client

    enter("visionops", server.password)
    new = secrets.token_hex(16)
    get_app_client("basic-auth", server.url).update_user_password("visionops", new, current_password=server.password)
    with pytest.raises(UserError, match="does not let us in"):
        check_service(server.url, SETTING)
    enter("visionops", new)
    check_service(server.url, SETTING)
