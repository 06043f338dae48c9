"""Served images that a person could label: what the inbox keeps, joined with the records of what was answered."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from vision.records import folder_day
from vision.records_read import record_tables

SHADOW = "shadow"


@dataclass(frozen=True)
class Candidates:
    """table: one row an image, its latest answer: columns of `read_records`, sha256, margin, other_label and
    other_confidence (what a shadow answered, None without one). images: id -> file. unrecorded: images whose record
    is gone.
    """

    table: pd.DataFrame
    images: Mapping[str, Path]
    unrecorded: int


def find_candidates(inbox: Path, records: Path) -> Candidates:
    """One log file in memory at a time, and of it only the answers to images that were kept."""
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
    own = own.assign(
        sha256=[images[made].stem for made in own["id"]],
        margin=[_margin(*pair) for pair in zip(own["answer"], own["answer_confidence"], strict=True)],
        other_label=own["id"].map(others["answer_label"] if len(others) else {}).astype(object),
        other_confidence=own["id"].map(others["answer_confidence"] if len(others) else {}),
    )
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


def _margin(answer: str, confidence: float) -> float:
    """Between the two likeliest answers; where only one is on record, as if the rest went to a single other."""
    best = [one.get("probability") for one in json.loads(answer).get("predictions") or ()][:2]
    if len(best) == 2 and None not in best:
        return float(best[0] - best[1])
    return max(0.0, 2 * float(confidence) - 1)
