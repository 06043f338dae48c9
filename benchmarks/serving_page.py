"""docs/serving-speed.md and docs/serving-speed.png from what `benchmarks.serving` measured, held against the targets."""

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vision.evaluation.style import BLUE, GREY, INK, ORANGE, WRONG, label_axes, new_figure, save

Found = Mapping[str, dict[str, Any]]
"""Scene's name -> what `benchmarks.serving_rounds.measure` gave, and the machine."""
SERVERS = {"ours": ("VisionOps", BLUE), "litserve": ("LitServe", ORANGE), "plain": ("plain FastAPI", GREY)}
AT_LEAST, AT_MOST = operator.ge, operator.le
SIGNS = {AT_LEAST: "≥", AT_MOST: "≤"}


@dataclass(frozen=True)
class Target:
    """A median and its bound: a number for each scene that has one (by its name's beginning or end), or another median."""

    key: str
    title: str
    holds: Callable[[float, float], bool]
    bounds: Mapping[str, float] | str

    def bound(self, scene: str, medians: Mapping[str, float]) -> float | None:
        if isinstance(self.bounds, str):
            return medians.get(self.bounds)
        return next((value for part, value in self.bounds.items() if part in scene), None)


EVERY = ""
RAW = {"resnet18": 0.95, "mobil": 0.7}
PLAIN = {"1080p": 2.7, "resnet18": 2.6, "mobilenet": 3.8}
PLAIN_INT8 = {"1080p": 3.5, "resnet18": 4.5}
TARGETS = (
    Target("raw_share", "requests/s at 64 clients, share of the raw limit", AT_LEAST, RAW),
    Target("raw_cpu_share", "the same by CPU: raw CPU an image / ours a request", AT_LEAST, RAW),
    Target("cpu_vs_plain", "CPU a request, plain handler / ours", AT_LEAST, PLAIN),
    Target("speed_vs_plain", "requests/s, ours / plain handler", AT_LEAST, PLAIN),
    Target("int8_cpu_vs_plain", "CPU a request, plain handler / ours in INT8", AT_LEAST, PLAIN_INT8),
    Target("int8_speed_vs_plain", "requests/s, ours in INT8 / plain handler", AT_LEAST, PLAIN_INT8),
    Target("vs_litserve", "requests/s, ours / LitServe", AT_LEAST, {EVERY: 1.0}),
    Target("lone_extra_ms", "lone request over the raw time, ms", AT_MOST, "lone_extra_allowed_ms"),
    Target("lone_extra_after_burst_ms", "the same right after a burst, ms", AT_MOST, "lone_extra_allowed_ms"),
    Target("overload_goodput", "overload: answered, share of capacity", AT_LEAST, {EVERY: 0.95}),
    Target("overload_p95_over_p50", "overload: p95 / p50 at 32 clients", AT_MOST, {EVERY: 4.0}),
    Target("overload_rejected_p95_ms", "overload: p95 of refusals, ms", AT_MOST, {EVERY: 5.0}),
    Target("overload_lost", "overload: lost or failed requests", AT_MOST, {EVERY: 0.0}),
)
FIGURES = (
    ("raw_per_s", "raw limit, images/s"),
    ("ours_per_s", "ours, requests/s"),
    ("ours_form_per_s", "ours with forms, requests/s"),
    ("int8_form_per_s", "ours in INT8 with forms, requests/s"),
    ("litserve_per_s", "LitServe, requests/s"),
    ("plain_per_s", "plain handler, requests/s"),
    ("raw_cpu_ms", "raw limit, CPU-ms an image"),
    ("ours_cpu_ms", "ours, CPU-ms a request"),
    ("ours_form_cpu_ms", "ours with forms, CPU-ms a request"),
    ("int8_raw_cpu_ms", "raw limit in INT8, CPU-ms an image"),
    ("int8_form_cpu_ms", "ours in INT8 with forms, CPU-ms a request"),
    ("litserve_cpu_ms", "LitServe, CPU-ms a request"),
    ("plain_cpu_ms", "plain handler, CPU-ms a request"),
    ("ours_cores", "cores that ours used"),
    ("ours_client_cores", "cores that its client used"),
    ("ours_other_cores", "cores that neither used, but others"),
    ("ours_p50_ms", "ours, p50 at 64 clients, ms"),
    ("ours_p95_ms", "ours, p95 at 64 clients, ms"),
    ("ours_refused", "ours, 429s in a round"),
    ("lone_raw_ms", "raw time of one image, ms"),
    ("overload_late_p95_ms", "overload: p95 of the generator's own delay, ms"),
    ("overload_client_cores", "overload: cores of the generator"),
    ("overload_rejected_p50_ms", "overload: p50 of refusals, ms"),
    ("after_overload", "requests/s right after the overload, share of capacity"),
)

INTRO = """# Serving speed

`make bench-serving` writes this page. One model package, served three ways on the same {cores} cores of {cpu}, one worker a
core: by this service (OpenVINO, with a key, rate limit, metrics and records on), by LitServe with the same engine and
decoding, and by a plain handler as the systems before us had it (FastAPI, PIL, eager torch, one image at a time; with
one torch thread a worker, which is its best here). The raw limit is decoding, preprocessing and batches of 16 in as
many processes, with no HTTP. Networks at 224 px; 256-px JPEGs and 1920 x 1080 photographs.

Medians of {rounds} rounds in which all take turns, {seconds:g} s each, at 64 clients that run on the same cores; whoever has no
turn is stopped. Against the raw limit ours gets raw bodies; against LitServe and the plain handler all get the same multipart
forms. Lone requests, overload (an open loop at 2 times the throughput at 64 clients) and fewer clients: ours with raw bodies.

The raw limit has both cores for itself, while a server shares them with its clients and with whatever else the machine
does (the rows of cores say how much), so its share is also given by CPU, where neither counts. INT8 is the same package's
quantised graph behind a server of its own, measured where it has passed its gate (no class loses more than a point of
recall on held-back images); mobile networks are slower in it and stay in bfloat16. Ratios hold for this machine and
these versions.

![requests a second against clients, and CPU a request](serving-speed.png)
"""


def write_page(found: Found, docs: Path) -> None:
    draw(found, docs / "serving-speed.png")
    one = next(iter(found.values()))
    head = INTRO.format(cores=one["cores"], cpu=one["cpu"], rounds=len(one["rounds"]), seconds=one["seconds"])
    parts = [head, "## Targets\n", *_targets(found), "", "## Figures\n", *_figures(found), ""]
    (docs / "serving-speed.md").write_text("\n".join(parts))


def _targets(found: Found) -> Iterator[str]:
    yield from _head("target", found)
    for target in TARGETS:
        cells = [_judged(target, scene, one["medians"]) for scene, one in found.items()]
        yield f"| {target.title} | {' | '.join(cells)} |"


def _judged(target: Target, scene: str, medians: Mapping[str, float]) -> str:
    """Bold where it is missed."""
    bound, value = target.bound(scene, medians), medians.get(target.key)
    if bound is None or value is None:
        return _number(value)
    met = target.holds(value, bound)
    text = f"{_number(value)} ({SIGNS[target.holds]} {_number(bound)})"
    return text if met else f"**{text} missed**"


def _figures(found: Found) -> Iterator[str]:
    yield from _head("figure", found)
    for key, title in FIGURES:
        yield f"| {title} | {' | '.join(_number(one['medians'].get(key)) for one in found.values())} |"


def _head(first: str, found: Found) -> tuple[str, str]:
    return f"| {first} | {' | '.join(found)} |", "|---|" + "--:|" * len(found)


def _number(value: float | None) -> str:
    """None: not measured for that scene; not a number: nothing came to be measured, as of refusals where none was."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.2f}"


def draw(found: Found, path: Path) -> None:
    """Above, requests a second against clients with the raw limit; below, CPU a request with each round as a dot."""
    figure = new_figure(3.4 * max(2, len(found)), 6.4)
    tops, bottoms = figure.subplots(2, len(found), squeeze=False)
    for (scene, one), top, bottom in zip(found.items(), tops, bottoms, strict=True):
        _draw_curve(top, scene, one)
        _draw_cpu(bottom, one)
    figure.legend(*tops[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    save(figure, path)


def _draw_curve(axes, scene: str, one: Mapping[str, Any]) -> None:
    for name, (title, colour) in SERVERS.items():
        line = one["curve"][name]
        axes.plot(line["clients"], line["per_s"], "o-", color=colour, linewidth=1.8, markersize=4, label=title)
    axes.axhline(one["medians"]["raw_per_s"], linestyle=":", color=INK, label="raw limit")
    axes.set_xscale("log", base=2)
    axes.set_xticks(line["clients"], [str(clients) for clients in line["clients"]])
    axes.set_ylim(bottom=0)
    label_axes(axes, scene.replace("_", " "), "clients", "requests a second")


def _draw_cpu(axes, one: Mapping[str, Any]) -> None:
    bars = {
        "raw": ("raw", INK),
        "ours": ("ours", BLUE),
        "int8_form": ("INT8", BLUE),
        "litserve": ("LitServe", ORANGE),
        "plain": ("plain", GREY),
    }
    bars = {name: bar for name, bar in bars.items() if f"{name}_cpu_ms" in one["medians"]}
    for place, (name, (_, colour)) in enumerate(bars.items()):
        axes.bar(place, one["medians"][f"{name}_cpu_ms"], 0.62, color=colour, alpha=0.85)
        rounds = [row[f"{name}_cpu_ms"] for row in one["rounds"]]
        axes.plot([place] * len(rounds), rounds, "_", color=WRONG, markersize=9)
    axes.set_xticks(range(len(bars)), [title for title, _ in bars.values()])
    label_axes(axes, "CPU a request", "", "ms")
