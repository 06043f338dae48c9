"""A real service, Prometheus with the rules as they are shipped, Alertmanager, and a webhook that gets the alarms.

The rules wait as long as they say (two minutes for a service that is gone); only scrapes and Alertmanager are impatient.
"""

import contextlib
import importlib
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import yaml

from tasks.packaging.smoke import free_port, serving
from tasks.stack.process import child, wait_until_healthy
from vision.lineage import PROJECT

HOST, SYSTEM = "127.0.0.1", "quickstart"
COMPOSE = PROJECT / "deploy" / "compose"
PROMETHEUS, ALERTMANAGER = shutil.which("prometheus"), shutil.which("prometheus-alertmanager")
PATIENCE_S = 240
pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not (PROMETHEUS and ALERTMANAGER), reason="apt-get install prometheus prometheus-alertmanager"),
]


class Webhook:
    """What Alertmanager posted, oldest first."""

    def __init__(self) -> None:
        self.posted: list[dict] = []
        posted = self.posted

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_) -> None:
                pass

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self.url = f"http://{HOST}:{self._server.server_port}/alarms?token=a&b|c"
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def got(self, name: str, status: str) -> dict | None:
        """The last alarm of that name and status (firing, resolved)."""
        alarms = [alarm for post in list(self.posted) for alarm in post["alerts"]]
        found = [one for one in alarms if (one["labels"]["alertname"], one["status"]) == (name, status)]
        return found[-1] if found else None


def until(found: Callable[[], object], what: str) -> object:
    end = time.monotonic() + PATIENCE_S
    while not (value := found()):
        assert time.monotonic() < end, what
        time.sleep(0.5)
    return value


@pytest.fixture(scope="module")
def state(tmp_path_factory) -> Path:
    own = importlib.import_module("tests.serving.conftest")
    return Path(
        shutil.copytree(own.released(tmp_path_factory.getbasetemp()), tmp_path_factory.mktemp("alarms") / "state")
    )


@contextlib.contextmanager
def service(state: Path, port: int) -> Iterator[str]:
    """At one address each time, as a service that is started again."""
    import tasks.packaging.smoke as smoke

    env = {"VISIONOPS_STATE": str(state), "VISIONOPS_SYSTEM": SYSTEM, "BENTOML_HOME": str(state / "bentoml")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(smoke, "free_port", lambda: port)
        with serving(".", PROJECT, state.parent / "serve.log", env) as running:
            yield running.url


@pytest.fixture(scope="module")
def webhook() -> Iterator[Webhook]:
    made = Webhook()
    yield made
    made.close()


@pytest.fixture(scope="module")
def alertmanager(webhook, tmp_path_factory) -> Iterator[str]:
    """deploy/compose's config with the webhook as its container puts it in; waits of minutes are seconds here."""
    folder = tmp_path_factory.mktemp("alertmanager")
    template, made = folder / "template.yaml", folder / "alertmanager.yaml"
    config = yaml.safe_load((COMPOSE / "alertmanager.yaml").read_text())
    config["route"] |= {"group_wait": "1s", "group_interval": "2s"}
    template.write_text(yaml.safe_dump(config))
    script = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]["alertmanager"]["entrypoint"][2]
    puts = script.replace("$$", "$").partition("exec ")[0]
    puts = puts.replace("/etc/alertmanager/template.yaml", str(template)).replace("/tmp/alertmanager.yaml", str(made))
    subprocess.run(["/bin/sh", "-ec", puts], env={**os.environ, "ALERT_WEBHOOK": webhook.url}, check=True)
    port = free_port()
    words = (f"--config.file={made}", f"--storage.path={folder / 'data'}", "--cluster.listen-address=")
    yield from running("alertmanager", (ALERTMANAGER, *words, f"--web.listen-address={HOST}:{port}"), folder, port)


def running(name: str, command: tuple[str, ...], folder: Path, port: int) -> Iterator[str]:
    url, log = f"http://{HOST}:{port}", folder / f"{name}.log"
    with child(command, folder, {}, log) as process:
        wait_until_healthy(name, f"{url}/-/ready", process.pid, log)
        yield url


@pytest.fixture(scope="module")
def address() -> int:
    """The service's port."""
    return free_port()


@pytest.fixture(scope="module")
def prometheus(alertmanager, address, tmp_path_factory) -> Iterator[str]:
    """deploy/prometheus's config and its rules, unchanged but for addresses and the interval of scrapes."""
    folder = tmp_path_factory.mktemp("prometheus")
    config = yaml.safe_load((PROJECT / "deploy" / "prometheus" / "prometheus.yaml").read_text())
    config["global"]["scrape_interval"] = "1s"
    config["rule_files"] = [str(PROJECT / "deploy" / "prometheus" / "rules.yaml")]
    config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager.removeprefix("http://")]}]}]}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"{HOST}:{address}"]
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    port = free_port()
    words = (f"--config.file={folder / 'prometheus.yaml'}", f"--storage.tsdb.path={folder / 'data'}")
    yield from running("prometheus", (PROMETHEUS, *words, f"--web.listen-address={HOST}:{port}"), folder, port)


def write_status(state: Path, alarm: int) -> None:
    """As the monitor does."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    path = state / "systems" / SYSTEM / "monitor" / "status.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"at": now, "drifted": alarm, "alarm": alarm, "cause": "covariate_shift"}))


def is_up(prometheus: str) -> bool:
    asked = {"query": f'up{{job="visionops", service="{SYSTEM}"}} == 1'}
    return bool(
        httpx.get(f"{prometheus}/api/v1/query", params=asked, trust_env=False, timeout=60).json()["data"]["result"]
    )


def test_an_alarm_of_drift_reaches_the_webhook_and_then_its_end(state, address, prometheus, webhook):
    with service(state, address):
        until(lambda: is_up(prometheus), "the target is up")
        assert webhook.posted == []
        write_status(state, alarm=1)
        began = time.monotonic()
        alarm = until(lambda: webhook.got("VisionOpsDrift", "firing"), "the alarm of drift at the webhook")
        print(f"\nVisionOpsDrift at the webhook after {time.monotonic() - began:.0f} s")
        assert alarm["labels"] == {"alertname": "VisionOpsDrift", "service": SYSTEM, "severity": "warning"}
        assert alarm["annotations"]["description"].endswith("Headline: covariate_shift.")
        assert alarm["annotations"]["runbook"] == "docs/runbook.md#visionopsdrift"
        write_status(state, alarm=0)
        until(lambda: webhook.got("VisionOpsDrift", "resolved"), "its end at the webhook")


def test_a_service_that_is_gone_is_told_alone_and_its_return_too(state, address, prometheus, webhook):
    """Whatever else it said of its model is no news while it is gone (`inhibit_rules`)."""
    began = time.monotonic()
    alarm = until(lambda: webhook.got("VisionOpsDown", "firing"), "the alarm at the webhook")
    print(f"\nVisionOpsDown at the webhook after {time.monotonic() - began:.0f} s")
    assert alarm["labels"]["severity"] == "critical" and alarm["labels"]["instance"] == f"{HOST}:{address}"
    assert "does not answer" in alarm["annotations"]["summary"]
    with service(state, address):
        until(lambda: webhook.got("VisionOpsDown", "resolved"), "its return at the webhook")
    assert {alarm["labels"]["alertname"] for post in webhook.posted for alarm in post["alerts"]} == {
        "VisionOpsDrift", "VisionOpsDown",
    }  # fmt: skip
