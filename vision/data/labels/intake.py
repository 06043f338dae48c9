"""Takes in what people have said of served images: feedback, joined by its id with the image that was kept.

The bytes come from the inbox (`dt=…/<id>.json` names the file) or from a label queue. Of several words on one image the
last one counts, also when they were said of different predictions. A killed call leaves images that no row names; the
next one mends that.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from vision.data.folders import EXTENSIONS
from vision.data.labels.store import LabelRow, labels_sha, read_labels, write_labels
from vision.preprocess import ImageError, decode
from vision.records import day_folder, day_number, made_at_ms
from vision.records_read import read_feedback
from vision.settings import Section

LOCK = ".lock"
QUEUE = "queue.json"
"""In the folder of a label queue: its images, by the id of their prediction. Written last."""


class Labelled(Section):
    """What the store of labelled images holds now, and what this call did.

    images: in the store. new: taken in by this call. moved: whose label or boxes have changed. conflicts: images of which two
    predictions were labelled differently; the last word counts. refused: feedback that gave no image, by reason:
    `unknown_label`, `no_image` (the client did not ask to keep it, or its days are over), `damaged_image`, `no_id`.
    """

    images: int
    new: int
    moved: int = 0
    conflicts: int = 0
    sha: str
    """Hash of which images have which labels and boxes."""
    refused: dict[str, int] = {}


@dataclass(frozen=True)
class LabelPlaces:
    """Folders of one system: `feedback` and `inbox` as the service writes them, `queue/<no>/`, and the `store`."""

    feedback: Path
    inbox: Path
    queue: Path
    store: Path

    def lock(self) -> FileLock:
        """Who holds it may rely on the store; it may be taken twice in one process."""
        self.store.mkdir(parents=True, exist_ok=True)
        return FileLock(self.store / LOCK, is_singleton=True)


@dataclass
class _Intake:
    """One call at work. rows: sha256 -> row; held: id -> file in the store; said: sha256 -> id -> label."""

    places: LabelPlaces
    max_megapixels: float
    rows: dict[str, LabelRow]
    queued: dict[str, Path]
    held: dict[str, Path]
    refused: Counter = field(default_factory=Counter)
    said: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))


def take_in(places: LabelPlaces, labels: Collection[str], max_megapixels: float = 50.0) -> Labelled:
    """Brings the store up to what the feedback says. labels: those that are known; others are refused and counted.

    What the store has once taken stays when inbox and feedback have let it go.
    """
    if not any(path.is_dir() for path in (places.feedback, places.store)):
        return Labelled(images=0, new=0, sha=labels_sha([]))
    with places.lock():
        before = {row.sha256: row for row in read_labels(places.store) if (places.store / row.file).is_file()}
        held = {row.id: places.store / row.file for row in before.values()}
        intake = _Intake(places, max_megapixels, dict(before), queued_images(places.queue), held)
        for word in read_feedback(places.feedback).to_dict("records"):
            reason = _take(intake, word) if word["label"] in labels else "unknown_label"
            intake.refused.update([reason] if reason else [])
        write_labels(places.store, intake.rows.values())
        _remove_others(places.store, {row.file for row in intake.rows.values()})
    return _told(intake, before)


def kept_image(inbox: Path, prediction_id: str) -> Path | None:
    """The image of a prediction that its client asked to keep. Raises `ValueError` for what is no prediction id."""
    day = day_number(made_at_ms(prediction_id) / 1000)
    for folder in (inbox / day_folder(day), inbox / day_folder(day + 1)):  # A request may pass midnight.
        with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            name = json.loads((folder / f"{prediction_id}.json").read_bytes())["file"]
            if (image := folder / Path(name).name).is_file():
                return image
    return None


def queued_images(queue: Path) -> dict[str, Path]:
    """Prediction id -> image, of every label queue that was made whole."""
    found = {}
    for file in sorted(queue.glob(f"[0-9]*/{QUEUE}")):
        for item in json.loads(file.read_bytes())["items"]:
            found[item["id"]] = file.parent / item["file"]
    return found


def _take(intake: _Intake, word: dict[str, Any]) -> str | None:
    """Puts one labelled image in its place; why not, where it can't be."""
    prediction_id, label = word["id"], word["label"]
    try:
        source = kept_image(intake.places.inbox, prediction_id)
    except ValueError:
        return "no_id"
    source = source or intake.queued.get(prediction_id) or intake.held.get(prediction_id)
    if source is None:
        return "no_image"
    sha = source.stem
    known = intake.rows.get(sha)
    if known is None and not _is_image(source, intake.max_megapixels):
        return "damaged_image"
    intake.said[sha][prediction_id] = label
    at, file = word["at"].isoformat(timespec="milliseconds"), f"images/{label}/{source.name}"
    if known is None or known.at <= at:
        _copy(intake.places.store / known.file if known else source, intake.places.store / file)
        who, boxes = word["key_id"] or "", _boxes_text(word["boxes"])
        intake.rows[sha] = LabelRow(
            sha256=sha, label=label, file=file, id=prediction_id, key_id=who, at=at, boxes=boxes
        )
    return None


def _boxes_text(said: list[dict[str, Any]] | None) -> str:
    """As `LabelRow.boxes` has them."""
    return "" if said is None else json.dumps([[each["label"], *each["box"]] for each in said])


def _is_image(path: Path, max_megapixels: float) -> bool:
    """Is it still what was kept under this name, and can it be trained on?"""
    if path.suffix not in EXTENSIONS:
        return False
    try:
        data = path.read_bytes()
        decode(data, max_megapixels)
    except (OSError, ImageError):
        return False
    return hashlib.sha256(data).hexdigest() == path.stem


def _copy(source: Path, target: Path) -> None:
    """Whole or not at all. The images of a name are equal, so one that is there is left."""
    if target.is_file():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copyfile(source, partial)
    partial.replace(target)


def _remove_others(store: Path, keep: set[str]) -> None:
    """Images whose label has changed, and what a killed call left."""
    for path in store.glob("images/*/*"):
        if path.relative_to(store).as_posix() not in keep:
            path.unlink()


def _told(intake: _Intake, before: dict[str, LabelRow]) -> Labelled:
    return Labelled(
        images=len(intake.rows),
        new=len(set(intake.rows) - set(before)),
        moved=sum(_said(intake.rows[sha]) != _said(row) for sha, row in before.items()),
        conflicts=sum(len(set(said.values())) > 1 for said in intake.said.values()),
        sha=labels_sha(intake.rows.values()),
        refused=dict(sorted(intake.refused.items())),
    )


def _said(row: LabelRow) -> tuple[str, str]:
    return row.label, row.boxes
