"""The one list of what the service counts and measures; all of it stands on `/metrics`.

Times are seconds, sizes bytes or images, as the names say. Every label has few values by construction: a path that no
route knows is `other`, a label is one of the model's own. Workers write to the folder PROMETHEUS_MULTIPROC_DIR, which
is known only once they start; so nothing here may touch prometheus_client while the service is being imported.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

from bentos.metrics.folder import take_own_folder

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

PREFIX = "visionops_"
FAST_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SHARES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Metric:
    """mode: of a gauge, how the workers' values are put together (prometheus_client's `multiprocess_mode`).

    known: values of the one label that show as 0 from the start: an alarm on a rise from nothing would miss the first.
    read: of a gauge that no worker sets, the source in `bentos.metrics.read` and the field; read at every scrape.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    mode: str = "livesum"
    known: tuple[str, ...] = ()
    read: tuple[str, str] | None = None


METRICS = (
    Metric("request_seconds", "histogram", "From the request's head to the answer's end.", ("endpoint", "status"), FAST_S),
    Metric("queue_seconds", "histogram", "An image's wait for the engine.", (), FAST_S),
    Metric("decode_seconds", "histogram", "From an image's bytes to the model's input, features included.", (), FAST_S),
    Metric("compute_seconds", "histogram", "The engine's time for the batch that an image was in.", (), FAST_S),
    Metric("batch_size", "histogram", "Size of the batch that an image was in.", (), BATCHES),
    Metric("queue_images", "gauge", "Images that are accepted and not answered."),
    Metric("predictions_total", "counter", "Answers, by the label they gave.", ("label",)),
    Metric("confidence", "histogram", "Confidence of the answers, a share.", (), SHARES),
    Metric(
        "lane_answers_total", "counter", "Answers, by lane; those in shadow are only recorded.", ("route",),
        known=("champion", "shadow", "canary"),
    ),
    Metric(
        "challenger_dropped_total", "counter", "Images that the challenger had no room for: not compared in shadow,"
        " answered by the champion in a canary.", ("route",),
    ),
    Metric(
        "challenger_failures_total", "counter", "What the challenger failed on; the champion went on.", ("route",),
        known=("shadow", "canary", "load"),
    ),
    Metric("low_confidence_total", "counter", "Answers below the package's threshold."),
    Metric("rejected_total", "counter", "Images and requests that were refused, by reason.", ("reason",)),
    Metric("rate_limited_total", "counter", "Requests past their key's rate."),
    Metric("engine_errors_total", "counter", "Images that the engine failed on."),
    Metric(
        "model_info", "gauge", "1 for the package that answers.",
        ("system", "version", "package_sha", "engine", "precision"), mode="livemax",
    ),
    Metric("release_no", "gauge", "Number of the release that is served; the lowest of the workers.", mode="livemin"),
    Metric(
        "release_take_ups_total", "counter", "Releases that a worker took up or refused.", ("result",),
        known=("taken", "refused"),
    ),
    Metric("release_wanted_no", "gauge", "Number of the release that should be served.", read=("wanted", "no")),
    Metric("records_written_total", "counter", "Lines of prediction records and feedback.", ("log",)),
    Metric("records_lost_total", "counter", "Lines that could not be written.", ("log",)),
    Metric("record_lag_seconds", "gauge", "For how long the last synced line was only in memory.", ("log",), mode="livemax"),
    Metric("feedback_total", "counter", "Feedback, by whether the answer was right.", ("right",)),
    Metric(
        "kept_images_total", "counter", "Images that a client asked to keep, by what became of them.", ("result",),
        known=("kept", "full", "lost"),
    ),
    Metric("state_disk_free_bytes", "gauge", "Room on the disk of the state folder.", read=("disk", "free")),
    Metric("state_disk_size_bytes", "gauge", "Size of the disk of the state folder.", read=("disk", "total")),
    Metric("monitor_last_run_timestamp_seconds", "gauge", "When the monitor last ran.", read=("monitor", "at")),
    Metric("drift_window_records", "gauge", "Records in the last window.", read=("monitor", "window_records")),
    Metric("drift_drifted", "gauge", "1 when the last window drifted.", read=("monitor", "drifted")),
    Metric("drift_alarm", "gauge", "1 when enough of the last windows changed.", read=("monitor", "alarm")),
    Metric("drift_p_value", "gauge", "Of the last window, corrected over its columns.", read=("monitor", "drift_p_value")),
    Metric("drift_columns", "gauge", "Columns that drifted in the last window.", read=("monitor", "drifted_columns")),
    Metric("drift_cause_info", "gauge", "1 for the headline of the last diagnosis.", ("cause",), read=("monitor", "cause")),
    Metric("drift_mean_confidence", "gauge", "Mean confidence in the last window.", read=("monitor", "mean_confidence")),
    Metric(
        "drift_reference_mean_confidence", "gauge", "Mean confidence on the champion's held-back images.",
        read=("monitor", "reference_mean_confidence"),
    ),
    Metric(
        "drift_low_confidence_share", "gauge", "Answers below the threshold, a share of the last window.",
        read=("monitor", "low_confidence_share"),
    ),
    Metric(
        "drift_estimated_accuracy", "gauge", "Accuracy in the last window, estimated without labels.",
        read=("monitor", "estimated_accuracy"),
    ),
    Metric(
        "drift_labelled_accuracy", "gauge", "Accuracy in the last window, on those that were labelled.",
        read=("monitor", "labelled_accuracy"),
    ),
    Metric(
        "drift_estimate_error", "gauge", "Estimated accuracy less what labels said later, in the last window with enough.",
        read=("monitor", "estimate_error"),
    ),
    Metric(
        "drift_false_alarm_rate", "gauge", "Measured share of windows without any change that are called changed.",
        read=("monitor", "false_alarm_rate"),
    ),
    Metric("release_mode_info", "gauge", "1 for the mode of the release.", ("mode",), read=("release", "mode")),
    Metric("release_share", "gauge", "Share of the clients that a canary answers.", read=("release", "share")),
    Metric("release_pairs", "gauge", "Images that champion and challenger both answered.", read=("release", "pairs")),
    Metric("release_disagreement", "gauge", "Share of the pairs with two answers.", read=("release", "disagreement")),
    Metric(
        "release_challenger_failures", "gauge", "Images that the challenger failed on in this release.",
        read=("release", "challenger_failures"),
    ),
)  # fmt: skip


@cache
def metrics() -> SimpleNamespace:
    """This process's metrics: one attribute for each of METRICS, named without `_total`."""
    take_own_folder()
    return create()


def create(registry: "CollectorRegistry | None" = None) -> SimpleNamespace:
    """registry: another than the process's own, for a test."""
    import prometheus_client

    options = {} if registry is None else {"registry": registry}
    made = {}
    for metric in (metric for metric in METRICS if metric.read is None):
        more: dict[str, Any] = dict(options)
        if metric.kind == "histogram":
            more["buckets"] = metric.buckets
        if metric.kind == "gauge":
            more["multiprocess_mode"] = metric.mode
        type_ = getattr(prometheus_client, metric.kind.capitalize())
        one = made[metric.name.removesuffix("_total")] = type_(PREFIX + metric.name, metric.help, metric.labels, **more)
        for value in metric.known:
            one.labels(value)
    return SimpleNamespace(**made)


def exposition(folder: Path | None = None) -> tuple[bytes, str]:
    """The text of `/metrics` over all workers, and its content type. Reads files: call it in a thread.

    folder: the system's, whose monitor and release are told too.
    """
    from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    try:
        collector = MultiProcessCollector(registry)
    except ValueError:  # A process alone: no folder is set.
        return generate_latest(REGISTRY) + _read(folder), CONTENT_TYPE_LATEST
    forget_dead(Path(collector._path))
    return generate_latest(registry) + _read(folder), CONTENT_TYPE_LATEST


def _read(folder: Path | None) -> bytes:
    from prometheus_client import CollectorRegistry, generate_latest

    from bentos.metrics.read import ReadMetrics

    registry = CollectorRegistry()
    if folder is not None:
        registry.register(ReadMetrics(folder, PREFIX, [metric for metric in METRICS if metric.read]))
    return generate_latest(registry)


def forget_dead(folder: Path) -> None:
    """Takes away the gauges of workers that died without a word; what they counted stays."""
    from prometheus_client.multiprocess import mark_process_dead

    pids = {int(found[1]) for path in folder.glob("gauge_live*.db") if (found := re.search(r"_(\d+)\.db$", path.name))}
    for pid in _dead(pids):
        mark_process_dead(pid, str(folder))


def _dead(pids: Iterable[int]) -> list[int]:
    return [pid for pid in pids if not Path(f"/proc/{pid}").exists() and not _alive(pid)]


def _alive(pid: int) -> bool:
    """For systems without /proc."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
