"""The dashboard of a service, as code: `make dashboard` writes dashboards/visionops.json.

A panel is a line here: its title, what it asks, in which unit. Every metric is one of bentos/metrics/names.py.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from grafana_foundation_sdk.builders import bargauge, common, dashboard, heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import StackingMode
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableRefresh
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

TARGET = Path(__file__).parent / "dashboards" / "visionops.json"
SOURCE = DataSourceRef(type_val="prometheus", uid="prometheus")
OF = 'service="$service"'
ASKED = 'endpoint=~"predict|explain|feedback"'
RATE = "[$__rate_interval]"
BUILDERS = {"series": timeseries.Panel, "stat": stat.Panel, "heat": heatmap.Panel, "bars": bargauge.Panel}


@dataclass(frozen=True)
class Drawn:
    """One panel. queries: legend and PromQL. span: columns of 24. stacked: the series add up to a whole."""

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: Literal["series", "stat", "heat", "bars"] = "series"
    span: int = 8
    stacked: bool = False
    description: str = ""


def quantile(share: float, metric: str, more: str = "") -> str:
    return f"histogram_quantile({share}, sum by (le) (rate(visionops_{metric}_bucket{{{OF}{more}}}{RATE})))"


def per_s(metric: str, by: str = "", more: str = "") -> str:
    return f"sum{f' by ({by})' if by else ''} (rate(visionops_{metric}{{{OF}{more}}}{RATE}))"


def gauge(metric: str, how: str = "max", by: str = "") -> str:
    return f"{how}{f' by ({by})' if by else ''} (visionops_{metric}{{{OF}}})"


def ratio(part: str, whole: str) -> str:
    return f"{part} / {whole}"


REQUESTS = per_s("request_seconds_count", more=f", {ASKED}")
PREDICT = ', endpoint="predict"'
ROWS: dict[str, tuple[Drawn, ...]] = {
    "Now": (
        Drawn("Replicas up", (("", f'sum(up{{job="visionops", {OF}}})'),), kind="stat", span=4),
        Drawn("Requests a minute", (("", f"60 * {REQUESTS}"),), kind="stat", span=4),
        Drawn("P95 of a prediction", (("", quantile(0.95, "request_seconds", PREDICT)),), "s", "stat", 4),
        Drawn(
            "Errors (5xx)", (("", ratio(per_s("request_seconds_count", more=f', {ASKED}, status=~"5.."'), REQUESTS)),),
            "percentunit", "stat", 4,
        ),
        Drawn("Drift alarm", (("", gauge("drift_alarm")),), kind="stat", span=4, description="1: docs/runbook.md#visionopsdrift"),
        Drawn(
            "Model", (("{{version}} {{engine}} {{precision}}", gauge("model_info", by="version, engine, precision")),),
            kind="stat", span=4,
        ),
    ),
    "Traffic": (
        Drawn("Requests a second, by endpoint", (("{{endpoint}}", per_s("request_seconds_count", "endpoint")),), "reqps", stacked=True),
        Drawn("Requests a second, by status", (("{{status}}", per_s("request_seconds_count", "status")),), "reqps", stacked=True),
        Drawn(
            "Refused, by reason",
            (("{{reason}}", per_s("rejected_total", "reason")), ("past the key's rate", per_s("rate_limited_total"))), "reqps",
        ),
    ),
    "Speed": (
        Drawn(
            "Latency of a prediction",
            tuple((f"P{share * 100:.0f}", quantile(share, "request_seconds", PREDICT)) for share in (0.5, 0.95, 0.99)), "s",
        ),
        Drawn("Latency, all answers", (("{{le}}", per_s("request_seconds_bucket", "le", PREDICT)),), "s", "heat"),
        Drawn(
            "P95, by part",
            tuple((name, quantile(0.95, f"{name}_seconds")) for name in ("queue", "decode", "compute")), "s",
        ),
        Drawn("Images accepted and not answered", (("{{instance}}", gauge("queue_images", by="instance")),)),
        Drawn(
            "Batch size", (("mean", ratio(per_s("batch_size_sum"), per_s("batch_size_count"))), ("P95", quantile(0.95, "batch_size"))),
            description="Of the batch that an image was in.",
        ),
        Drawn("Images the engine failed on", (("", per_s("engine_errors_total")),), "ops"),
    ),
    "Answers": (
        Drawn("Answers a second, by class", (("{{label}}", per_s("predictions_total", "label")),), "ops", stacked=True),
        Drawn("Confidence, all answers", (("{{le}}", per_s("confidence_bucket", "le")),), "percentunit", "heat"),
        Drawn(
            "Below the threshold",
            (
                ("share now", ratio(per_s("low_confidence_total"), per_s("predictions_total"))),
                ("share in the monitor's window", gauge("drift_low_confidence_share")),
            ), "percentunit",
        ),
        Drawn("Feedback, by whether the answer was right", (("{{right}}", per_s("feedback_total", "right")),), "ops", stacked=True),
        Drawn(
            "Mean confidence",
            (
                ("served", ratio(per_s("confidence_sum"), per_s("confidence_count"))),
                ("window", gauge("drift_mean_confidence")), ("held-back images", gauge("drift_reference_mean_confidence")),
            ), "percentunit",
        ),
        Drawn("Images that clients asked to keep", (("{{result}}", per_s("kept_images_total", "result")),), "ops"),
    ),
    "Drift": (
        Drawn(
            "Verdict", (("drifted", gauge("drift_drifted")), ("alarm", gauge("drift_alarm"))),
            description="1 for a window that differs; the alarm takes several of the last windows.",
        ),
        Drawn("p-value of the last window", (("corrected", gauge("drift_p_value")),)),
        Drawn(
            "Columns that drifted; records in the window",
            (("columns", gauge("drift_columns")), ("records", gauge("drift_window_records"))),
        ),
        Drawn("Headline", (("{{cause}}", gauge("drift_cause_info", by="cause")),), kind="bars"),
        Drawn(
            "Accuracy",
            (
                ("estimated without labels", gauge("drift_estimated_accuracy")),
                ("on labelled answers", gauge("drift_labelled_accuracy")), ("estimate less labels", gauge("drift_estimate_error")),
            ), "percentunit",
        ),
        Drawn(
            "Since the monitor ran; its rate of false alarms",
            (
                ("hours", f"(time() - {gauge('monitor_last_run_timestamp_seconds')}) / 3600"),
                ("false alarms, a share", gauge("drift_false_alarm_rate")),
            ),
        ),
    ),
    "Release": (
        Drawn("Mode", (("{{mode}}", gauge("release_mode_info", by="mode")),), kind="bars"),
        Drawn(
            "Release: served, wanted",
            (("served by the slowest", gauge("release_no", "min")), ("wanted", gauge("release_wanted_no"))),
        ),
        Drawn("Answers a second, by lane", (("{{route}}", per_s("lane_answers_total", "route")),), "ops"),
        Drawn(
            "Challenger",
            (
                ("share of clients", gauge("release_share")), ("disagreement", gauge("release_disagreement")),
            ), "percentunit",
        ),
        Drawn("Pairs compared; failures", (("pairs", gauge("release_pairs")), ("failures", gauge("release_challenger_failures")))),
        Drawn(
            "Challenger: failed, had no room",
            (
                ("failed {{route}}", per_s("challenger_failures_total", "route")),
                ("no room {{route}}", per_s("challenger_dropped_total", "route")),
                ("take-ups {{result}}", per_s("release_take_ups_total", "result")),
            ), "ops",
        ),
    ),
    "Records and machine": (
        Drawn("Record lag", (("{{log}}", gauge("record_lag_seconds", by="log")),), "s"),
        Drawn(
            "Records a second",
            (("written {{log}}", per_s("records_written_total", "log")), ("lost {{log}}", per_s("records_lost_total", "log"))), "ops",
        ),
        Drawn(
            "Disk of the state folder", (("free", gauge("state_disk_free_bytes", "min")), ("size", gauge("state_disk_size_bytes", "min"))),
            "bytes",
        ),
    ),
}  # fmt: skip


def panel(drawn: Drawn):
    made = BUILDERS[drawn.kind]().title(drawn.title).description(drawn.description).datasource(SOURCE)
    made = made.unit(drawn.unit).span(drawn.span).height(4 if drawn.kind == "stat" else 8)
    if drawn.stacked:
        made = made.stacking(common.StackingConfig().mode(StackingMode.NORMAL)).fill_opacity(40)
    if drawn.kind == "heat":  # Prometheus counts in cumulative buckets; Grafana takes them apart in this format.
        made = made.calculate(False).cell_gap(1)
    for number, (legend, expression) in enumerate(drawn.queries):
        query = prometheus.Dataquery().ref_id(chr(ord("A") + number)).expr(expression).datasource(SOURCE)
        query = query.legend_format(legend or drawn.title)
        made = made.with_target(query.format(PromQueryFormat.HEATMAP) if drawn.kind == "heat" else query)
    return made


def build() -> dashboard.Dashboard:
    service = (
        dashboard.QueryVariable("service").label("system").datasource(SOURCE)
        .query("label_values(visionops_model_info, service)").refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    )  # fmt: skip
    made = dashboard.Dashboard("VisionOps").uid("visionops").tags(["visionops"]).refresh("30s").time("now-6h", "now")
    made = made.timezone("browser").editable().with_variable(service)
    for title, row in ROWS.items():
        made = made.with_row(dashboard.Row(title))
        for drawn in row:
            made = made.with_panel(panel(drawn))
    return made


def text() -> str:
    return JSONEncoder(sort_keys=True, indent=1).encode(build().build()) + "\n"


def main() -> int:
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
