"""What stands on /metrics: one list, names with units, few values a label, and the sum of all workers."""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from bentos.hooks import Asked
from bentos.metrics.folder import take_own_folder
from bentos.metrics.meter import RATE, Meter, Timed
from bentos.metrics.names import METRICS, PREFIX, create, forget_dead

PROJECT = Path(__file__).resolve().parents[2]
UNIT = re.compile(r"_(seconds|bytes|total|images|size|info|no|share|rate|p_value|columns|records|pairs|failures)$")
SAYS_ITSELF = re.compile(r"(^|_)(confidence|accuracy|estimate_error|disagreement|drifted|alarm)$")
"""A share of 1, or yes or no."""


def test_every_name_says_its_unit_and_every_metric_what_it_is():
    assert [
        metric.name for metric in METRICS if not (UNIT.search(metric.name) or SAYS_ITSELF.search(metric.name))
    ] == []
    assert all(metric.help.endswith(".") for metric in METRICS)
    assert all(metric.name.endswith("_total") == (metric.kind == "counter") for metric in METRICS)
    assert max(Counter(metric.name for metric in METRICS).values()) == 1


def test_what_alarms_look_for_shows_as_nothing_before_it_happens():
    registry = CollectorRegistry()
    create(registry)
    for metric in METRICS:
        for value in metric.known:
            assert registry.get_sample_value(PREFIX + metric.name, {metric.labels[0]: value}) == 0
    assert registry.get_sample_value("visionops_challenger_failures_total", {"route": "load"}) == 0


def test_answers_are_counted_by_label_confidence_and_time(worker, draw):
    for seed, label in enumerate(("moss", "moss", "slate")):
        worker.client.post("/predict", files={"file": draw(label, seed)})
    assert worker.value("predictions_total", label="moss") == 2
    assert worker.value("predictions_total", label="slate") == 1
    for name in ("decode_seconds", "queue_seconds", "compute_seconds", "batch_size", "confidence"):
        assert worker.value(f"{name}_count") == 3, name
    assert 0 < worker.value("compute_seconds_sum") < 10
    assert worker.value("records_written_total", log="records") == 3
    assert worker.value("queue_images") == 0
    info = {"system": "quickstart", "version": "3", "package_sha": worker.predictor.lane.info["package_sha"]}
    engine = worker.predictor.lane.engine
    assert worker.value("model_info", **info, engine=engine.name, precision=engine.precision) == 1


def test_refusals_are_counted_by_reason_and_nothing_of_the_client_becomes_a_label(worker):
    for data in (b"", b"text", b"other text"):
        worker.client.post("/predict", files={"file": ("<script>.jpg", data)})
    assert worker.value("rejected_total", reason="unknown_format") == 2
    assert worker.value("rejected_total", reason="empty") == 1
    families = text_string_to_metric_families(generate_latest(worker.registry).decode())
    [reasons] = [family for family in families if family.name == "visionops_rejected"]
    assert {sample.labels["reason"] for sample in reasons.samples} == {"unknown_format", "empty"}


def test_what_explain_and_a_full_memory_refuse_is_counted_too(worker, draw):
    before = worker.value("rejected_total", reason="unknown_format") or 0
    assert worker.client.post("/explain", content=b"no image").status_code == 415
    assert worker.value("rejected_total", reason="unknown_format") == before + 1
    before, memory = worker.value("rejected_total", reason="overloaded") or 0, worker.client.app.state.memory
    memory.held = memory.max_bytes
    assert worker.client.post("/predict", content=draw("moss", 1)).status_code == 429
    memory.held = 0
    assert worker.value("rejected_total", reason="overloaded") == before + 1


def test_a_request_that_is_no_upload_is_counted_by_its_status(worker):
    worker.client.post("/predict", json={"file": "leaf.jpg"})
    worker.client.get("/predictions/x/lineage")
    assert worker.value("rejected_total", reason="http_415") == 1
    assert worker.value("rejected_total", reason="http_404") == 1


def test_an_answer_below_the_threshold_is_counted_as_low(worker, draw, monkeypatch):
    lane = worker.predictor.lane
    monkeypatch.setattr(lane, "spec", lane.spec.model_copy(update={"confident_at": 1.0, "temperature": 50.0}))
    worker.client.post("/predict", files={"file": draw("moss", 9)})
    assert worker.value("low_confidence_total") == 1


def test_an_engine_that_fails_is_counted(worker, draw, monkeypatch):
    def broken(_):
        raise RuntimeError("no more memory")

    monkeypatch.setattr(worker.predictor.lane.batcher._line, "_run", broken)
    with pytest.raises(RuntimeError):
        worker.client.portal.call(worker.predictor.predict, draw("moss", 1), Asked())
    assert worker.value("engine_errors_total") == 1


def test_a_key_past_its_rate_is_counted_apart():
    registry = CollectorRegistry()
    Meter(create(registry), lambda: 0).refused(RATE)
    assert registry.get_sample_value("visionops_rate_limited_total") == 1
    assert registry.get_sample_value("visionops_rejected_total", {"reason": "rate"}) == 1


def test_a_request_whose_client_left_is_timed_as_gone():
    code = """
import asyncio
from prometheus_client import REGISTRY
from bentos.metrics.meter import Timed

async def leaves(scope, receive, send):
    raise RuntimeError("gone")

async def ask():
    try:
        await Timed(leaves)({"type": "http", "path": "/x"}, None, None)
    except RuntimeError:
        pass

asyncio.run(ask())
print(REGISTRY.get_sample_value("visionops_request_seconds_count", {"endpoint": "other", "status": "gone"}))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1.0"
    assert Timed.__doc__


def test_a_dead_workers_gauges_go_and_its_counts_stay(tmp_path):
    code = "from bentos.metrics.names import metrics; m = metrics(); m.queue_images.set(7); m.engine_errors.inc()"
    env = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PATH": ""}
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, env=env, check=True)
    [folder] = tmp_path.parent.glob(f"{tmp_path.name}-*")
    assert list(folder.glob("gauge_livesum_*.db"))
    forget_dead(folder)
    assert not list(folder.glob("gauge_livesum_*.db"))
    assert list(folder.glob("counter_*.db"))


def test_each_server_has_a_folder_of_its_own_and_those_of_the_dead_go(tmp_path, monkeypatch):
    """BentoML empties the shared one whenever a second server starts beside the first."""
    shared, me = tmp_path / "prom", psutil.Process(os.getppid())
    for name in ("prom-1-1", "prom-999999999-1", "prom-not-a-pid", "other"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(shared))
    take_own_folder()
    own = f"prom-{me.pid}-{me.create_time():.0f}"
    assert os.environ["PROMETHEUS_MULTIPROC_DIR"] == str(tmp_path / own)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", own]
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR")
    take_own_folder()
    assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ


def scrape(url: str) -> dict:
    """(name, labels) -> value of all samples."""
    response = httpx.get(f"{url}/metrics", trust_env=False, timeout=60)
    assert response.headers["content-type"].startswith("text/plain")
    families = list(text_string_to_metric_families(response.text))
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


@pytest.mark.slow
def test_the_servers_metrics_are_the_sum_of_its_workers_and_do_not_grow_with_paths(live, draw):
    before = scrape(live.url)
    data, each_its_own = draw("moss", 1), httpx.Limits(max_keepalive_connections=0)  # So that both workers get some.
    with httpx.Client(base_url=live.url, limits=each_its_own, trust_env=False, timeout=60) as client:
        assert {client.post("/predict", files={"file": data}).status_code for _ in range(40)} == {200}
    after = scrape(live.url)
    assert {PREFIX + one.name.removesuffix("_total") for one in METRICS if not one.labels and one.read is None} <= {
        re.sub(r"_(total|bucket|sum|count)$", "", name) for name, _ in after
    }

    def grown(name: str, **labels: str) -> float:
        key = (f"visionops_{name}", tuple(sorted(labels.items())))
        return after.get(key, 0) - before.get(key, 0)

    assert grown("predictions_total", label="moss") == 40
    assert grown("records_written_total", log="records") == 40
    assert grown("request_seconds_count", endpoint="predict", status="200") == 40
    with httpx.Client(base_url=live.url, trust_env=False, timeout=60) as client:
        for number in range(60):
            client.get(f"/nothing/{number}")
            client.get(f"/predictions/{number}/lineage")
    series = set(scrape(live.url))
    assert not any("nothing" in value for _, labels in series for _, value in labels)
    assert len(series - set(after)) <= 2 * 20
