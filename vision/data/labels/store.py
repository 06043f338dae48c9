"""The store of images that people have labelled since, and how they come into the next version of the data.

`<folder>/labels.csv` names each image with who said its label; the bytes lie in `images/<label>/<sha256>.<format>`.
A row stands in the table only while its file is there.
"""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vision.data.boxes.geometry import Box
from vision.data.folders import Classes
from vision.lineage import sha256_json
from vision.package import sha256_file
from vision.settings import Section

TABLE = "labels.csv"
PREFIX = "labelled-"


class LabelRow(Section):
    """One image's label. id: the prediction that it was said of; at: when, ISO 8601 in UTC; key_id: who said it."""

    sha256: str
    label: str
    file: str
    """Relative to the store: `images/<label>/<sha256>.<format>`."""
    id: str
    key_id: str = ""
    at: str
    boxes: str = ""
    """JSON [[label, x1, y1, x2, y2], ...] of all that it shows, pixels; empty where nobody drew them."""

    @property
    def places(self) -> tuple[Box, ...] | None:
        return tuple(Box(*each) for each in json.loads(self.boxes)) if self.boxes else None


def read_labels(folder: Path) -> list[LabelRow]:
    """By sha256; nothing for a store that isn't there."""
    try:
        text = (folder / TABLE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return [LabelRow(**row) for row in csv.DictReader(io.StringIO(text, newline=""))]


def write_labels(folder: Path, rows: Iterable[LabelRow]) -> None:
    """Replaces the table in one step."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, tuple(LabelRow.model_fields), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.model_dump() for row in sorted(rows, key=lambda row: row.sha256))
    partial = folder / f".{TABLE}.partial"
    partial.write_text(text.getvalue(), encoding="utf-8")
    partial.replace(folder / TABLE)


def labels_sha(rows: Iterable[LabelRow]) -> str:
    """Content hash of the store: which images, with which labels and boxes."""
    return sha256_json(sorted((row.sha256, row.label, *filter(None, [row.boxes])) for row in rows))


@dataclass(frozen=True)
class Additions:
    """plan: target in the data set -> file. known: how many the source has already, with the same label.

    conflicts: (path in the source, its label, the label that was said) of images that the source has with another label.
    """

    plan: dict[str, Path]
    counts: dict[str, int]
    known: int
    conflicts: tuple[tuple[str, str, str], ...]


def plan_labelled(store: Path | None, classes: Classes) -> Additions:
    """What the store adds to these classes of the source. An image that the source has by content is not added twice.

    Only files of equal size are hashed: a large source is not read for a few labels.
    """
    rows = [row for row in read_labels(store) if row.label in classes] if store else []
    there = in_source(store, rows, classes) if rows else {}
    plan, counts, known, conflicts = {}, dict.fromkeys(classes, 0), 0, []
    for row in rows:
        label, file = there.get(row.sha256, (None, None))
        if label is None:
            plan[f"images/{row.label}/{PREFIX}{Path(row.file).name}"] = store / row.file
            counts[row.label] += 1
        elif label == row.label:
            known += 1
        else:
            conflicts.append((f"{label}/{file.name}", label, row.label))
    return Additions(plan, counts, known, tuple(sorted(conflicts)))


def in_source(store: Path, rows: Sequence[LabelRow], classes: Classes) -> dict[str, tuple[str, Path]]:
    """sha256 -> (label, file) of the source's files that are also in the store."""
    wanted = defaultdict(set)
    for row in rows:
        wanted[(store / row.file).stat().st_size].add(row.sha256)
    found = {}
    for label, files in classes.items():
        for file in files:
            shas = wanted.get(file.stat().st_size)
            if shas and (sha := sha256_file(file)) in shas:
                found[sha] = label, file
    return found
