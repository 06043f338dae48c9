"""What a service and its clients leave of images that were kept: bytes, notes and words on them."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from odd_images import encoded, picture
from uuid6 import uuid7

from vision.data.labels.intake import LabelPlaces
from vision.records import Feedback, day_folder, day_number, feedback_line

START = datetime.now(UTC)


def places(root: Path) -> LabelPlaces:
    return LabelPlaces(root / "feedback", root / "inbox", root / "queue", root / "labelled")


def keep(folders: LabelPlaces, seed: int) -> str:
    """A drawn image that a client asked to keep; returns its prediction's id."""
    return keep_bytes(folders, encoded(picture(seed), "PNG"), ".png")


def keep_bytes(folders: LabelPlaces, data: bytes, suffix: str) -> str:
    made, folder = str(uuid7()), folders.inbox / day_folder(day_number())
    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(data).hexdigest() + suffix
    (folder / name).write_bytes(data)
    (folder / f"{made}.json").write_text(json.dumps({"id": made, "file": name}))
    return made


def say(folders: LabelPlaces, made: str, label: str, second: int = 0) -> None:
    folder = folders.feedback / day_folder(day_number())
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "host-1-a.ndjson").open("ab") as log:
        log.write(feedback_line(Feedback(id=made, label=label, at=START + timedelta(seconds=second), key_id="app")))
