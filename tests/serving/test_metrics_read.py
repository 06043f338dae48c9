"""What the monitor and the release step last said, and the disk, on /metrics: read at each scrape, never an error."""

import json
from datetime import UTC, datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bentos.metrics.names import METRICS, PREFIX, exposition
from bentos.metrics.read import SOURCES, read_disk

MONITOR = {
    "at": "2026-11-21T08:00:00+00:00",
    "window_no": 7,
    "window_records": 412,
    "drifted": 1,
    "alarm": 0,
    "drift_p_value": 0.0031,
    "drifted_columns": 4,
    "mean_confidence": 0.71,
    "reference_mean_confidence": 0.93,
    "low_confidence_share": 0.34,
    "estimated_accuracy": None,
    "labelled_accuracy": 0.8,
    "estimate_error": 0.04,
    "false_alarm_rate": 0.005,
    "cause": "covariate_shift",
}
RELEASE = {
    "at": "2026-11-21T08:01:00+00:00",
    "release_no": 5,
    "mode": "canary",
    "champion_version": 3,
    "challenger_version": 4,
    "share": 0.1,
    "pairs": 250,
    "disagreement": 0.04,
    "challenger_failures": 2,
    "step": "stay",
    "reason": "not enough answers yet",
}


def samples(text: bytes) -> dict[tuple[str, tuple], float]:
    families = text_string_to_metric_families(text.decode())
    return {
        (sample.name.removeprefix(PREFIX), tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def read(folder) -> dict[tuple[str, tuple], float]:
    return samples(exposition(folder)[0])


def write(folder, monitor=None, release=None) -> None:
    (folder / "monitor").mkdir(exist_ok=True, parents=True)
    if monitor is not None:
        (folder / "monitor" / "status.json").write_text(monitor if isinstance(monitor, str) else json.dumps(monitor))
    if release is not None:
        (folder / "release_status.json").write_text(release if isinstance(release, str) else json.dumps(release))


def test_what_monitor_and_release_wrote_stands_on_metrics(tmp_path):
    write(tmp_path, MONITOR, RELEASE)
    found = read(tmp_path)
    expected = {
        "drift_drifted": 1, "drift_alarm": 0, "drift_p_value": 0.0031, "drift_columns": 4, "drift_window_records": 412,
        "drift_mean_confidence": 0.71, "drift_reference_mean_confidence": 0.93, "drift_low_confidence_share": 0.34,
        "drift_labelled_accuracy": 0.8, "drift_estimate_error": 0.04,
        "drift_false_alarm_rate": 0.005, "release_share": 0.1, "release_pairs": 250,
        "release_disagreement": 0.04, "release_challenger_failures": 2,
        "monitor_last_run_timestamp_seconds": datetime(2026, 11, 21, 8, tzinfo=UTC).timestamp(),
    }  # fmt: skip
    assert {name: found.get((name, ())) for name in expected} == pytest.approx(expected)
    assert found[("drift_cause_info", (("cause", "covariate_shift"),))] == 1
    assert found[("release_mode_info", (("mode", "canary"),))] == 1
    assert ("drift_estimated_accuracy", ()) not in found, "null is no number"


def test_every_field_that_a_gauge_reads_is_one_that_is_written(tmp_path):
    written = {"monitor": set(MONITOR), "release": set(RELEASE), "disk": set(read_disk(tmp_path)), "wanted": {"no"}}
    read_from = [metric.read for metric in METRICS if metric.read]
    assert {source for source, _ in read_from} == set(SOURCES)
    assert [pair for pair in read_from if pair[1] not in written[pair[0]]] == []
    assert [metric.name for metric in METRICS if metric.read and metric.kind != "gauge"] == []


@pytest.mark.parametrize(
    "text",
    ["", "{", json.dumps(MONITOR)[:40], "[1, 2]", "null", '"drifted"', "\x00\x01", "[" * 100_000],
    ids=["empty", "brace", "torn", "list", "null", "string", "binary", "deep"],
)
def test_a_file_that_is_missing_torn_or_strange_gives_no_gauge_and_no_error(tmp_path, text):
    write(tmp_path, monitor=text)
    found = {name for name, _ in read(tmp_path)}
    assert not any(name.startswith(("drift_", "monitor_", "release_mode", "release_pairs")) for name in found)
    write(tmp_path, release=RELEASE)
    assert read(tmp_path)[("release_pairs", ())] == 250


def test_a_field_of_another_type_costs_its_own_gauge_only(tmp_path):
    strange = {"at": "yesterday", "drifted": "yes", "alarm": [1], "cause": 7, "mean_confidence": {"a": 1}}
    write(tmp_path, {**MONITOR, **strange})
    found = {name for name, _ in read(tmp_path)}
    gone = {"monitor_last_run_timestamp_seconds", "drift_drifted", "drift_alarm", "drift_cause_info"}
    assert not found & (gone | {"drift_mean_confidence"})
    assert "drift_p_value" in found


def test_a_new_window_is_seen_at_the_next_scrape_and_a_state_that_is_not_there_is_fine(tmp_path):
    write(tmp_path, MONITOR)
    assert read(tmp_path)[("drift_alarm", ())] == 0
    write(tmp_path, {**MONITOR, "alarm": 1})
    assert read(tmp_path)[("drift_alarm", ())] == 1
    found = read(tmp_path / "not" / "there")
    assert 0 < found[("state_disk_free_bytes", ())] <= found[("state_disk_size_bytes", ())]
    assert not any(name.startswith("drift_") for name, _ in found)


def test_the_service_tells_its_own_systems_monitor(worker):
    write(worker.system, MONITOR, RELEASE)
    found = samples(worker.client.get("/metrics").content)
    assert found[("release_wanted_no", ())] == 0
    assert found[("drift_mean_confidence", ())] == 0.71
    assert found[("release_pairs", ())] == 250
