"""The dashboard: in step with its source, and no panel that stays empty because its metric does not exist."""

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from bentos.metrics.names import METRICS, PREFIX

PROJECT = Path(__file__).resolve().parents[3]
FOLDER = PROJECT / "deploy" / "grafana"
OF_PROMETHEUS = {"le", "service", "job", "instance"}
SUFFIX = re.compile(r"_(bucket|sum|count)$")
PROMTOOL = shutil.which("promtool")


@pytest.fixture(scope="module")
def source():
    spec = importlib.util.spec_from_file_location("draw_dashboard", FOLDER / "draw_dashboard.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def panels() -> list[dict]:
    dashboard = json.loads((FOLDER / "dashboards" / "visionops.json").read_text())
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions(panels) -> list[str]:
    return [target["expr"] for panel in panels for target in panel["targets"]]


def test_the_file_is_what_its_source_writes(source):
    assert source.TARGET.read_text() == source.text(), "make dashboard"


def test_every_metric_is_one_of_the_list_with_the_labels_that_it_has(panels):
    by_name = {PREFIX + metric.name: metric for metric in METRICS}
    used = set()
    for expression in expressions(panels):
        for name, asked in re.findall(rf"({PREFIX}\w+)\{{([^}}]*)\}}", expression):
            metric = by_name.get(name) or by_name[SUFFIX.sub("", name)]
            assert (metric.kind == "histogram") == bool(SUFFIX.search(name)), name
            used.add(metric.name)
            grouped = {label.strip() for by in re.findall(r"by \(([^)]*)\)", expression) for label in by.split(",")}
            asked_for = set(re.findall(r'(\w+)\s*[=!]~?\s*"', asked))
            assert asked_for | grouped <= {*metric.labels, *OF_PROMETHEUS}, expression
            assert 'service="$service"' in asked, expression
    assert {metric.name for metric in METRICS} == used, "a metric that nobody sees is not needed"


def test_a_legend_names_only_labels_that_its_query_keeps(panels):
    for panel in panels:
        for target in panel["targets"]:
            named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            kept = {label.strip() for by in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in by.split(",")}
            assert named <= kept, (panel["title"], target)


def test_panels_do_not_overlap_and_ask_the_provisioned_source(panels):
    places = [panel["gridPos"] for panel in panels]
    taken = [
        (x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])
    ]  # fmt: skip
    assert len(taken) == len(set(taken)) and max(x for x, _ in taken) < 24
    uid = yaml.safe_load((FOLDER / "provisioning" / "datasources" / "prometheus.yaml").read_text())["datasources"][0][
        "uid"
    ]
    assert {panel["datasource"]["uid"] for panel in panels} == {uid}
    provider = yaml.safe_load((FOLDER / "provisioning" / "dashboards" / "visionops.yaml").read_text())["providers"][0]
    assert (
        f"../grafana/dashboards:{provider['options']['path']}:ro"
        in (PROJECT / "deploy" / "compose" / "compose.yaml").read_text()
    )


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool on this machine: apt-get install prometheus")
def test_prometheus_understands_every_query(panels, tmp_path):
    """As recording rules: promtool parses them all at once."""
    filled = [one.replace("$__rate_interval", "5m").replace("$service", "quickstart") for one in expressions(panels)]
    rules = [{"record": f"dashboard:query:{number}", "expr": one} for number, one in enumerate(filled)]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run([PROMTOOL, "check", "rules", str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(filled)} rules found" in done.stdout
