"""Served images that a person could label: what the inbox keeps, joined with the records of what was answered."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from vision.records import folder_day
from vision.records_read import record_tables

SHADOW = "shadow"


@dataclass(frozen=True)
class Candidates:
    """table: one row an image, its latest answer: columns of `read_records`, sha256, margin, other_label,
    other_confidence and disputed (what a shadow answered, None without one, and whether it was something else).
    images: id -> file. unrecorded: images whose record is gone.
    """

    table: pd.DataFrame
    images: Mapping[str, Path]
    unrecorded: int


def find_candidates(inbox: Path, records: Path, margin: Callable[[Mapping[str, Any]], float]) -> Candidates:
    """One log file in memory at a time, and of it only the answers to images that were kept. margin: the kind's."""
    images = kept_images(inbox)
    if not images:
        return Candidates(pd.DataFrame(columns=["id", "sha256"]), {}, 0)
    days = {day for path in inbox.iterdir() if (day := folder_day(path.name)) is not None}
    days = tuple(sorted(days | {day - 1 for day in days}))  # A request may pass midnight.
    parts = [_of_images(table, images) for table in record_tables(records, days)]
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["id", "pair_id", "route"])
    shadows = rows["route"] == SHADOW
    own, others = rows[~shadows & rows["id"].isin(images)], rows[shadows].drop_duplicates("pair_id", keep="last")
    unrecorded = len(set(images) - set(own["id"]))
    if own.empty:
        return Candidates(own.assign(sha256=None), images, unrecorded)
    others = others.set_index("pair_id")
    said = {name: others.get(name, {}) for name in ("answer_label", "answer_confidence", "agrees")}
    answers = zip(own["answer"], own["answer_confidence"], strict=True)
    own = own.assign(
        sha256=[images[made].stem for made in own["id"]],
        margin=[margin(json.loads(answer) | {"confidence": confidence}) for answer, confidence in answers],
        other_label=own["id"].map(said["answer_label"]).astype(object),
        other_confidence=own["id"].map(said["answer_confidence"]),
    )
    own["disputed"] = _disputed(own, own["id"].map(said["agrees"]).astype(object))
    latest = own.sort_values(["at", "id"]).drop_duplicates("sha256", keep="last").reset_index(drop=True)
    return Candidates(latest, images, unrecorded)


def kept_images(inbox: Path) -> dict[str, Path]:
    """Prediction id -> image, of every note of the inbox whose image is there."""
    return {made: image for folder in sorted(inbox.glob("dt=*")) for made, image in notes_of_day(folder)}


def notes_of_day(folder: Path) -> Iterator[tuple[str, Path]]:
    """(prediction id, image) of each note of one day's folder whose image is there."""
    for note in sorted(folder.glob("*.json")):
        try:
            image = note.with_name(Path(json.loads(note.read_bytes())["file"]).name)
        except (OSError, ValueError, KeyError, TypeError):  # Torn, or gone meanwhile.
            continue
        if image.is_file():
            yield note.stem, image


def _of_images(table: pd.DataFrame, images: Mapping[str, Path]) -> pd.DataFrame:
    return table[table["id"].isin(images) | table["pair_id"].isin(images)]


def _disputed(own: pd.DataFrame, agrees: pd.Series) -> pd.Series:
    """bool. agrees: as the service compared both answers; None in records of before it did, then their labels are compared."""
    other = own["other_label"].notna() & (own["other_label"] != own["answer_label"])
    return other.where(agrees.isna(), agrees.eq(False)).astype(bool)
