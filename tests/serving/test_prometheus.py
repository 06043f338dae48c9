"""A real Prometheus scrapes the real service, with our own rules: targets, numbers, an alarm that comes and goes."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import yaml

from benchmarks.servers import free_port

PROMETHEUS = shutil.which("prometheus")
FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "prometheus"
PATIENCE_S = 60

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROMETHEUS is None, reason="no Prometheus on this machine: apt-get install prometheus"),
]


def configure(folder: Path, target: str) -> Path:
    """Our own files, for another address and impatient."""
    config = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
    rules = yaml.safe_load((FOLDER / "rules.yaml").read_text())
    for group in rules["groups"]:
        group["interval"] = "1s"
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    return folder / "prometheus.yaml"


class Prometheus:
    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, trust_env=False, timeout=5)

    def get(self, path: str, **params) -> dict:
        try:
            answer = self._client.get(f"/api/v1/{path}", params=params)
        except httpx.TransportError:
            return {}
        return answer.json().get("data", {}) if answer.status_code == 200 else {}

    def until(self, found: Callable[[], object], what: str) -> object:
        stop = time.monotonic() + PATIENCE_S
        while not (value := found()):
            assert time.monotonic() < stop, f"{what}: {self.get('targets')} {self.get('alerts')}"
            time.sleep(0.2)
        return value

    def value(self, query: str) -> float | None:
        result = self.get("query", query=query).get("result", [])
        return float(result[0]["value"][1]) if result else None

    def firing(self) -> dict[str, dict]:
        alerts = self.get("alerts").get("alerts", [])
        return {alert["labels"]["alertname"]: alert for alert in alerts if alert["state"] == "firing"}


@pytest.fixture
def prometheus(live, tmp_path):
    port = free_port()
    command = [
        PROMETHEUS,
        f"--config.file={configure(tmp_path, live.url.removeprefix('http://'))}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (tmp_path / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(20)


def write_status(live, alarm: int) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    path = live.system / "monitor" / "status.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"at": now, "drifted": alarm, "alarm": alarm, "cause": "covariate_shift"}))


def test_prometheus_sees_what_is_served_and_raises_the_alarm_when_the_monitor_says_drift(live, prometheus, draw):
    write_status(live, alarm=0)
    prometheus.until(lambda: prometheus.value('up{job="visionops", service="quickstart"}') == 1, "the target is up")
    assert [target["health"] for target in prometheus.get("targets")["activeTargets"]] == ["up"]
    groups = prometheus.get("rules")["groups"]
    assert [rule["health"] for group in groups for rule in group["rules"] if rule["health"] == "err"] == []
    moss = 'sum(visionops_predictions_total{service="quickstart", label="moss"})'
    before = prometheus.value(moss) or 0
    with httpx.Client(base_url=live.url, trust_env=False, timeout=60) as client:
        assert {client.post("/predict", files={"file": draw("moss", n)}).status_code for n in range(7)} == {200}
    prometheus.until(lambda: (prometheus.value(moss) or 0) == before + 7, "seven answers are counted")
    assert prometheus.value("visionops_drift_alarm") == 0
    assert "VisionOpsDrift" not in prometheus.firing()
    write_status(live, alarm=1)
    alert = prometheus.until(lambda: prometheus.firing().get("VisionOpsDrift"), "the alarm of drift")
    assert alert["labels"] == {"alertname": "VisionOpsDrift", "service": "quickstart", "severity": "warning"}
    assert alert["annotations"]["description"].endswith("Headline: covariate_shift.")
    write_status(live, alarm=0)
    prometheus.until(lambda: "VisionOpsDrift" not in prometheus.firing(), "the end of the alarm")
    shutil.rmtree(live.system / "monitor")
