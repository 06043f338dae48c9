"""A run as one page that a manager can read: self-contained HTML (no network, no script), and the same as Markdown."""

import base64
import io
import math
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from vision.evaluation.checks import Check
from vision.evaluation.style import percent
from vision.settings import Section
from vision.verdict import Verdict

PAGE = "report.html"
MEANINGS = {
    "map50": "area under precision by recall, boxes that overlap by half, mean over classes",
    "map50_95": "the same, mean over overlaps from 0.5 to 0.95",
    "box_recall": "how many of the true boxes are found",
    "box_precision": "how many of the found boxes are true",
    "defects_flagged": "share of images with a defect that get a box",
    "accuracy": "share of images answered right",
    "macro_f1": "F1 of each class, every class counting the same",
    "precision": "how often an answer is right, mean over classes",
    "recall": "how much of each class is found, mean over classes",
    "auroc": "chance that a defect scores higher than a normal image",
    "false_alarm_rate": "normal images called defects",
    "recall_defect": "defects found",
    "pointing": "defects whose hottest place lies on them",
    "boxes_hit": "boxes that an area above the threshold touches",
    "ece": "mean gap between confidence and accuracy",
    "confident_share": "share of answers above the confidence threshold",
    "confident_accuracy": "share right of those confident answers",
    "latency_p50_ms": "one image, typical, on this machine's CPU",
    "latency_p95_ms": "one image, slowest in twenty",
    "size_mib": "model file",
}
FURTHER = {"boxes": "boxes", "ap50": "AP at 0.5", "ap50_95": "AP at 0.5 to 0.95"}
"""Columns of a per-class table that not every kind has, and their titles."""
UNITS = {"latency_p50_ms": "ms", "latency_p95_ms": "ms", "size_mib": "MiB"}


class Figure(Section):
    """A key figure, ready to read: value and interval as text."""

    name: str
    value: str
    interval: str = ""
    meaning: str = ""


class Table(Section):
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


class Picture(Section):
    path: Path
    caption: str = ""


class Point(Section):
    """A finding in a sentence with its number, and what to do about it."""

    text: str
    do: str = ""


class Part(Section):
    """A chapter of the page: paragraphs, findings, tables and pictures, in that order."""

    title: str
    text: tuple[str, ...] = ()
    points: tuple[Point, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()


REASONS = 4
"""Of a verdict that passed, those that stand beside it."""


class RunReport(Section):
    """All that the page shows. Empty parts are left out. `verdict` None: the run ended before the gate."""

    title: str
    summary: str = ""
    at: str = ""
    verdict: Verdict | None = None
    verdict_words: tuple[str, str] = ("Passed", "Rejected")
    figures: tuple[Figure, ...] = ()
    level: float = 0.95
    """Of the figures' intervals."""
    gate: Table | None = None
    data: Table | None = None
    data_facts: dict[str, str] = {}
    contract: Verdict | None = None
    contract_facts: dict[str, str] = {}
    per_class: Table | None = None
    parts: tuple[Part, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    limitations: tuple[str, ...] = ()
    links: dict[str, str] = {}
    """Text to address or path; a path is shown as it is."""
    lineage: dict[str, str] = {}

    @property
    def why(self) -> tuple[str, ...]:
        """Of the verdict: every reason against; of many that speak for it, which the gate's table holds, the first."""
        reasons = self.verdict.reasons
        if not self.verdict.passed or self.gate is None or len(reasons) <= REASONS:
            return reasons
        return (*reasons[:REASONS], f"{len(reasons) - REASONS} more checks, in the table below")


def write_report(report: RunReport, folder: Path, name: str = PAGE) -> Path:
    """Writes `name` into `folder` and returns its path. Raises `FileNotFoundError` for a picture that is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{name}.partial"
    partial.write_text(
        _template("report.html.j2").render(report=report, embed=embed, percent=percent), encoding="utf-8"
    )
    os.replace(partial, folder / name)  # noqa: PTH105
    return folder / name


def to_markdown(report: RunReport) -> str:
    """The same as Markdown, for a Prefect artifact: tables, and pictures by path."""
    return _template("report.md.j2").render(report=report, cell=markdown_cell, percent=percent)


def key_figures(metrics: Mapping[str, float], names: tuple[str, ...] = tuple(MEANINGS)) -> tuple[Figure, ...]:
    """Those of `names` that were measured, with their intervals where there are any (name_low, name_high)."""
    return tuple(_figure(name, metrics) for name in names if name in metrics)


def gate_table(checks: tuple[Check, ...]) -> Table:
    """What the gate asked and got, one row a check."""
    rows = tuple((c.what.replace("_", " "), c.asked, c.got, "passed" if c.passed else "FAILED") for c in checks)
    return Table(title="The gate", columns=("what", "asked", "got", "result"), rows=rows)


def frame_table(title: str, frame: pd.DataFrame, note: str = "", digits: int = 3) -> Table:
    """A data frame for reading: floats to `digits`, undefined as a dash."""
    rows = tuple(tuple(_text(value, digits) for value in row) for row in frame.itertuples(index=False))
    columns = tuple(str(name).replace("_", " ") for name in frame.columns)
    return Table(title=title, columns=columns, rows=rows, note=note)


def split_table(splits: pd.DataFrame) -> Table:
    """Images of each class by split, with totals. splits: columns label, split; rows in no split are not counted."""
    counts = splits.dropna(subset="split").groupby(["label", "split"]).size().unstack(fill_value=0)
    counts = counts.reindex(columns=["train", "val", "test"], fill_value=0)
    counts["all"] = counts.sum(axis=1)
    counts.loc["all classes"] = counts.sum()
    return frame_table("Images by class and split", counts.rename_axis("class").reset_index())


def per_class_report(per_class: pd.DataFrame, level: float = 0.95) -> Table:
    """`metrics.per_class_table` for reading. level: of its intervals."""
    recall = zip(per_class["recall"], per_class["recall_low"], per_class["recall_high"], strict=True)
    shown = pd.DataFrame(
        {
            "class": per_class["label"],
            "images": per_class["images"],
            "recall": [f"{_text(r, 2)} ({_text(low, 2)} to {_text(high, 2)})" for r, low, high in recall],
            "precision": per_class["precision"],
            "F1": per_class["f1"],
        }
        | {title: per_class[name] for name, title in FURTHER.items() if name in per_class}
    )
    note = f"Recall with its {percent(level)} interval over families of near-duplicates."
    return frame_table("Each class", shown, note, digits=2)


@cache
def embed(path: Path, largest_bytes: int = 200_000) -> str:
    """A picture as a data URI; a PNG of photographs is recoded as WebP, which is a tenth of it."""
    data, kind = path.read_bytes(), path.suffix.lstrip(".").lower()
    if len(data) > largest_bytes:
        from PIL import Image

        packed = io.BytesIO()
        Image.open(io.BytesIO(data)).convert("RGB").save(packed, "WEBP", quality=85)
        data, kind = packed.getvalue(), "webp"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def markdown_cell(value: Any) -> str:
    """Text that stays inside its table cell and means nothing to Markdown or HTML."""
    text = str(value).replace("\n", " ").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("\\", "\\\\").replace("|", "\\|")


def _template(name: str) -> Any:
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    escaped = jinja2.select_autoescape(("html.j2",))
    settings = {"trim_blocks": True, "lstrip_blocks": True, "undefined": jinja2.StrictUndefined}
    return jinja2.Environment(loader=loader, autoescape=escaped, **settings).get_template(name)


def _figure(name: str, metrics: Mapping[str, float]) -> Figure:
    unit, digits = UNITS.get(name, ""), 1 if name in UNITS else 3
    low, high = metrics.get(f"{name}_low", math.nan), metrics.get(f"{name}_high", math.nan)
    interval = "" if math.isnan(low) or math.isnan(high) else f"{low:.{digits}f} to {high:.{digits}f}"
    value = f"{_text(metrics[name], digits)} {unit}".strip()
    shown = name.removesuffix(f"_{unit.lower()}").replace("_", " ") if unit else name.replace("_", " ")
    return Figure(name=shown, value=value, interval=interval, meaning=MEANINGS.get(name, ""))


def _text(value: Any, digits: int) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return "–"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)
