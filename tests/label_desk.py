"""A system's state folder as a service leaves it, with kept images and records, and people who fill a queue's sheet."""

import csv
import hashlib
import io
import json
from datetime import UTC, datetime

import numpy as np
from PIL import Image
from uuid6 import uuid7

from vision.data.features import FEATURES
from vision.records import day_folder, day_number, record_line
from vision.records_log import LineLog

LABELS = ["healthy", "late_blight"]
SHA = "a" * 64


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


class Served:
    """A system's state folder, with what a service writes there."""

    def __init__(self, run):
        self.run, self.name = run, run.config.system
        self.log = LineLog(run.state.records(self.name))
        self.inbox = run.state.inbox(self.name) / day_folder(day_number())
        self.inbox.mkdir(parents=True)

    def answer(
        self,
        data: bytes,
        confidence: float,
        label: str = "healthy",
        other: str | None = None,
        answer: dict | None = None,
    ) -> str:
        """A kept image and its record; `other`: what the challenger said beside it. answer: of another kind."""
        made, name = str(uuid7()), hashlib.sha256(data).hexdigest() + ".png"
        (self.inbox / name).write_bytes(data)
        (self.inbox / f"{made}.json").write_text(json.dumps({"id": made, "file": name}))
        more = {} if answer is None else {"answer": answer}
        self.log.append(record_line(record(made, label, confidence) | more))
        if other:
            self.log.append(record_line(record(str(uuid7()), other, 0.9) | {"route": "shadow", "pair_id": made}))
        return made

    def sheet(self, no: int = 1):
        return self.run.state.queue(self.name) / str(no) / "labels.csv"

    def fill(self, no: int = 1, **labels: str) -> None:
        """Writes labels (id -> label) into the sheet, as a person does."""
        with self.sheet(no).open(newline="") as file:
            rows = list(csv.DictReader(file))
        with self.sheet(no).open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(row | {"label": labels.get(row["id"], row["label"])} for row in rows)


def record(made: str, label: str, confidence: float) -> dict:
    rest = next(name for name in LABELS if name != label)
    said = [{"label": label, "probability": confidence}, {"label": rest, "probability": 1 - confidence}]
    return {
        "id": made, "at": datetime.now(UTC), "package_sha": SHA, "model_version": 1, "release_no": 0,
        "route": "champion", "pair_id": None, "client_hash": None, "batch_size": 1, "queue_ms": 0.1, "compute_ms": 1.0,
        "features": dict.fromkeys(FEATURES, 0.5), "embedding": np.zeros(4),
        "answer": {"label": label, "predictions": said}, "confidence": confidence, "confident": confidence > 0.7,
    }  # fmt: skip


def ids_of(folder):
    return [item["id"] for item in json.loads((folder / "queue.json").read_text())["items"]]
