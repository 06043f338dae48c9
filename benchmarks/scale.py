"""Scale on paper: docs/scale.md from `benchmarks/scale.yaml`, with the arithmetic. `python -m benchmarks.scale` writes the page.

The inputs are of four sorts: measured (by `benchmarks.scale_measure`), quoted from another page or a config, seen in a run
whose page is not kept, and assumed. Every line of arithmetic is a formula over inputs and earlier lines; the page shows the
formula and what it gives.
"""

import ast
import math
import sys
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from benchmarks.scale_page import render

INPUTS = Path(__file__).with_name("scale.yaml")
PAGE = Path(__file__).resolve().parents[1] / "docs" / "scale.md"


class Line(NamedTuple):
    """One step. formula: Python's arithmetic over names; told: what it is, with its unit."""

    name: str
    formula: str
    told: str


PREDICTIONS = (
    Line("mean_per_s", "predictions / 86400", "requests a second, mean"),
    Line("peak_per_s", "mean_per_s * peak", "requests a second at the peak"),
    Line("worker_per_s", "resnet_per_s / 2 * load", "requests a second of a worker (one core) at that load, ResNet-18"),
    Line("resnet_cores", "peak_per_s / worker_per_s", "cores at the peak, ResNet-18"),
    Line("replicas", "ceil(resnet_cores / replica_cores)", "replicas at the peak, ResNet-18"),
    Line("replica_memory_tib", "replicas * replica_gib / 1024", "TiB of memory that they ask for"),
    Line("replicas_allowed_m", "replicas_most * replica_cores * worker_per_s / peak * 86400 / 1e6",
         "million predictions a day that the ten replicas of the manifests bear"),
    Line("network_gbit_s", "peak_per_s * image_kb * 8 / 1e6", "Gbit/s into the service at the peak"),
    Line("keep_tb_day", "predictions * keep_share * image_kb / 1e9", "TB a day of kept images, where clients ask for it"),
)  # fmt: skip
RECORDS = (
    Line("workers", "replicas * replica_cores", "workers, each with a log file a day and a sync a second"),
    Line(
        "described_share",
        "min(1, 1000 * features_share * workers / describe_cpu_ms / mean_per_s)",
        "share of the answers that have image features",
    ),
    Line(
        "record_bytes",
        "described_share * record_described_bytes + (1 - described_share) * record_plain_bytes",
        "bytes of a record",
    ),
    Line("log_tb_day", "predictions * record_bytes / 1e12", "TB a day as log lines"),
    Line("sealed_tb_day", "log_tb_day * record_sealed_share", "TB a day as parquet"),
    Line("records_tb", "log_tb_day + sealed_tb_day * (records_days - 1)", "TB kept: a day of logs, the others sealed"),
    Line("worker_log_gb", "predictions / workers * record_bytes / 1e9", "GB of one worker's log file at the end of a day"),
    Line("seal_gb", "worker_log_gb * seal_memory_share", "GB of memory to seal it, since a file is read whole"),
    Line("seal_h", "predictions * seal_cpu_us / 1e6 / 3600", "hours to seal a day, in one process"),
)  # fmt: skip
MONITOR = (
    Line("due_per_window", "predictions / 96", "records between two runs of the monitor, one system"),
    Line("judged_m", "96 * max_window / 1e6", "million records that one monitor judges in a day: a window a run"),
    Line("judged_share", "judged_m * 1e6 / predictions", "share of a day that is judged in a day: it falls behind for ever"),
    Line("system_per_window", "predictions / systems / 96", "records between two runs, of each of the systems"),
    Line("release_rows", "predictions / 144", "rows between two steps of a release, one system"),
    Line("release_s", "release_rows / release_rows_measured * release_rows_s", "seconds of a step that reads them"),
    Line("release_gib", "release_rows / release_rows_measured * release_rows_mib / 1024", "GiB of memory for it"),
)  # fmt: skip
IMAGES = (
    Line("originals_tb", "images * image_kb / 1e9", "TB of image files"),
    Line("copies_tb", "originals_tb * 3", "TB in the data set's folder, DVC's cache and its remote"),
    Line("cache_tb", "images * cache_px * cache_px * 3 / 1e12", "TB of the uint8 cache, one file"),
    Line("describe_core_h", "images * describe_cpu_ms / 1000 / 3600", "core-hours to describe"),
    Line("cache_core_h", "images * cache_cpu_ms / 1000 / 3600", "core-hours to decode into the cache"),
    Line("dvc_h", "images * (copy_cpu_ms + dvc_cpu_ms) / 1000 / 3600", "hours to copy and version, one process"),
    Line("dvc_gib", "images * dvc_kib / 2**20", "GiB of memory for DVC's index, one process"),
    Line("families_h", "(images * families_linear_us / 1e6 + images**2 * families_quadratic_ps / 1e12) / 3600",
         "hours to find near-duplicates, one core"),
    Line("driver_gib", "images * driver_kib / 2**20", "GiB of memory of all processes of the flow: tables with a row an image"),
    Line("images_on_host_m", "host_gib * 2**20 / driver_kib / 1e6", "million images that a flow bears on a host of that memory"),
    Line("epoch_core_h", "images * train_cpu_ms / 1000 / 3600", "core-hours an epoch, MobileNetV3-Small at 224 px"),
    Line("epoch_cluster_h", "epoch_core_h / (ray_nodes * ray_cores)", "hours an epoch on the largest Ray cluster of the manifests"),
    Line("training_cores", "epoch_core_h * epochs / 24", "cores that train all epochs in a day"),
)  # fmt: skip
SYSTEMS = (
    Line("deployments", "systems * 4", "deployments"),
    Line("runs_day", "systems * (96 + 144 + 1)", "flow runs a day: monitor, release, label queue"),
    Line("runs_per_s", "runs_day / 86400", "flow runs a second, if they came evenly"),
    Line("flow_cores", "systems * (96 * monitor_run_cpu_s + 144 * release_run_cpu_s) / 86400", "cores for the scheduled flows"),
    Line("server_cores", "systems * (96 * monitor_run_server_cpu_s + 144 * release_run_server_cpu_s) / 86400",
         "cores of the Prefect server for them"),
    Line("herd_gib", "systems * (monitor_run_memory_mib + release_run_memory_mib) / 1024",
         "GiB of memory when all start in one minute, as the schedules say"),
    Line("herd_minutes", "systems * (monitor_run_cpu_s + release_run_cpu_s) / flow_hosts_cores / 60",
         "minutes until that many cores have worked them off"),
    Line("prefect_gb_day", "runs_day * run_database_kb / 1e6", "GB a day that Prefect's database grows by"),
    Line("idle_cores", "systems * replicas_least * replica_cores", "cores that idle replicas ask for, two of each system"),
    Line("idle_tib", "systems * replicas_least * replica_gib / 1024", "TiB of memory for them"),
    Line("reports_tb_year", "systems * 96 * report_mb / 1e6 * 365", "TB a year of monitor pages in MLflow, which keeps all"),
    Line("trainings_day", "systems * budget / budget_days", "trainings a day that the governor allows"),
    Line("training_system_cores", "trainings_day * training_cpu_s / 86400", "cores for them, each as long as tomato_leaf's"),
    Line("packages_tb_year", "trainings_day * package_mb * copies / 1e6 * 365", "TB a year of packages"),
)  # fmt: skip
MONTH = (
    Line(
        "service_core_hours",
        "resnet_cores / peak * 24 * 30",
        "core-hours of the service, if replicas follow the day's mean",
    ),
    Line("records_kept_tb", "records_tb", "TB kept of records"),
    Line("images_in_tb", "predictions * image_kb / 1e9 * 30", "TB of images into the service"),
    Line(
        "flow_core_hours", "(flow_cores + server_cores) * 24 * 30", "core-hours of the scheduled flows of all systems"
    ),
    Line("training_core_hours", "epoch_core_h * epochs", "core-hours of one training on all images"),
)
PARTS = {
    "predictions": PREDICTIONS,
    "records": RECORDS,
    "monitor": MONITOR,
    "images": IMAGES,
    "systems": SYSTEMS,
    "month": MONTH,
}


def read_inputs() -> dict[str, Any]:
    return yaml.safe_load(INPUTS.read_text())


def values_of(inputs: dict[str, Any]) -> dict[str, float]:
    """Every input by its name."""
    found = dict(inputs["measured"])
    for sort in ("quoted", "seen", "assumed"):
        for name, one in inputs[sort].items():
            if name in found:
                raise ValueError(f"input {name} stands twice")
            found[name] = one["value"]
    return found


def compute(inputs: dict[str, Any]) -> dict[str, float]:
    """Inputs and lines by name, in order: a line knows those before it."""
    values = values_of(inputs)
    for lines in PARTS.values():
        for line in lines:
            if line.name in values:
                raise ValueError(f"line {line.name} stands twice")
            values[line.name] = eval(line.formula, {"__builtins__": {}, "ceil": math.ceil, "min": min}, values)
    return values


def names_in(formula: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(formula)) if isinstance(node, ast.Name)} - {"ceil", "min"}


def main() -> int:
    inputs = read_inputs()
    PAGE.write_text(render(inputs, compute(inputs), PARTS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
