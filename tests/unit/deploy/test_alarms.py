"""The alarms: every metric is one that we have, every alarm is tested and has its page in the runbook."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from bentos.metrics.names import METRICS, PREFIX

PROJECT = Path(__file__).resolve().parents[3]
FOLDER = PROJECT / "deploy" / "prometheus"
OF_PROMETHEUS = {"le", "service", "job", "instance"}
SUFFIX = re.compile(r"_(bucket|sum|count)$")
PROMTOOL = shutil.which("promtool")


def rules() -> dict[str, dict]:
    groups = yaml.safe_load((FOLDER / "rules.yaml").read_text())["groups"]
    found = [rule for group in groups for rule in group["rules"]]
    assert len({rule["alert"] for rule in found}) == len(found)
    return {rule["alert"]: rule for rule in found}


def metric_of(name: str):
    by_name = {PREFIX + metric.name: metric for metric in METRICS}
    return by_name.get(name) or by_name.get(SUFFIX.sub("", name))


def test_every_metric_of_a_rule_is_one_of_the_list():
    texts = [rule["expr"] + str(rule["annotations"]) for rule in rules().values()]
    texts.append((FOLDER / "rules_test.yaml").read_text())
    used = {name for text in texts for name in re.findall(rf"{PREFIX}\w+", text)}
    assert [name for name in used if metric_of(name) is None] == []
    assert len(used) > 15
    parts = {"bucket", "sum", "count"}
    wrong = [name for name in used if name.rpartition("_")[2] in parts and metric_of(name).kind != "histogram"]
    assert wrong == []


def test_a_rule_asks_only_for_labels_and_values_that_a_metric_has():
    for rule in rules().values():
        for name, asked in re.findall(rf"({PREFIX}\w+)\{{([^}}]*)\}}", rule["expr"]):
            metric = metric_of(name)
            for label, value in re.findall(r'(\w+)\s*[=!]~?\s*"([^"]*)"', asked):
                assert label in {*metric.labels, *OF_PROMETHEUS}, (rule["alert"], name, label)
                if metric.known:
                    assert set(value.split("|")) <= set(metric.known), (rule["alert"], name, value)


def test_every_alarm_says_how_bad_what_and_where_to_read_on():
    sections = re.findall(r"^## (\w+)$", (PROJECT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    assert sections == list(rules()), "the runbook has a section an alarm, in their order"
    for name, rule in rules().items():
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{name.lower()}"


def test_every_alarm_is_tested_silent_firing_and_ended():
    seen = {name: [] for name in rules()}
    for test in yaml.safe_load((FOLDER / "rules_test.yaml").read_text())["tests"]:
        for case in test["alert_rule_test"]:
            seen[case["alertname"]].append(bool(case.get("exp_alerts")))
    for name, fires in seen.items():
        first = fires.index(True) if True in fires else -1
        assert first > 0, f"{name}: silent first, then firing"
        assert fires[-1] is False, f"{name}: ended at last"


def test_the_monitors_interval_in_the_rules_is_that_of_its_deployments():
    deployments = yaml.safe_load((PROJECT / "prefect.yaml").read_text())["deployments"]
    crons = {
        schedule["cron"]
        for deployment in deployments
        if "monitor_drift" in deployment["entrypoint"]
        for schedule in deployment.get("schedules", ())
    }
    assert crons
    minutes = {re.fullmatch(r"\*/(\d+) \* \* \* \*", cron)[1] for cron in crons}
    assert [f"> 3 * {every} * 60" in rules()["VisionOpsMonitorSilent"]["expr"] for every in minutes] == [True]


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool on this machine: apt-get install prometheus")
@pytest.mark.parametrize("what", [("check", "config", "prometheus.yaml"), ("test", "rules", "rules_test.yaml")])
def test_promtool_takes_the_files_and_every_alarm_does_what_its_test_says(what):
    done = subprocess.run([PROMTOOL, *what], cwd=FOLDER, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
