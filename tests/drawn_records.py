"""A released package without a model, its reference, and records as a service would have written them: drawn, in a second."""

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from uuid6 import uuid7

from vision.data.features import FEATURES
from vision.package import REQUIRED, InputSpec, Spec, seal_package
from vision.records import day_folder, day_number, record_line
from vision.release import ReleasedModel, first_release, moved, read_release, write_release

LABELS = ("amber", "moss", "rust")
SIDE_PX = 64.0
MOVED = ["contrast", "sharpness", "saturation", "warmth", "greenness", "entropy", "noise"]


def draw_rows(count, seed=0, shift=None, labels=LABELS):
    """Independent rows. shift: column -> standard deviations by which it moves."""
    rng, shift = np.random.default_rng(seed), shift or {}
    rows = pd.DataFrame({name: 0.5 + 0.1 * (rng.standard_normal(count) + shift.get(name, 0.0)) for name in FEATURES})
    rows[["width_px", "height_px"]] = SIDE_PX
    rows["aspect"] = 1.0
    rows["entropy"] += 6
    rows["file_bytes"] = rng.normal(5000, 300, count).round()
    numbers = rng.integers(len(labels), size=count)
    rows["label"] = np.array(labels)[numbers]
    right = rng.random(count) < 0.9
    rows["answer_label"] = np.where(right, rows["label"], np.array(LABELS)[(numbers + 1) % len(LABELS)])
    spread = np.clip(rng.beta(9, 1, count) + 0.1 * shift.get("confidence", 0.0), 0.34, 1)
    rows["answer_confidence"], rows["answer_confident"] = spread, spread >= 0.7
    centres = 2 * np.eye(len(labels), 32)
    embedding = rng.standard_normal((count, 32)) + centres[numbers] + shift.get("embedding", 0.0)
    return pd.concat([rows, pd.DataFrame(embedding.astype("f4")).add_prefix("e")], axis=1)


def write_package(folder, reference, version=1):
    """A sealed package in `folder/packages/<sha>`: whole by its hashes, with a reference and no model."""
    partial = folder / "packages" / f".new-{version}"
    partial.mkdir(parents=True)
    for name in REQUIRED:
        (partial / name).write_text(json.dumps({"version": version}))
    size = InputSpec(side_px=32, resize_px=36)
    spec = Spec(schema=1, kind="classify", arch="drawn", labels=LABELS, input=size, outputs=("logits", "embedding"))
    (partial / "spec.json").write_text(spec.model_dump_json(by_alias=True))
    known = reference.assign(split="test", path=[f"{n}.png" for n in range(len(reference))], sha256="0" * 64)
    known["family"] = known.index
    known.to_parquet(partial / "reference.parquet")
    sha = seal_package(partial)
    partial.rename(folder / "packages" / sha)
    return ReleasedModel(version=version, package_sha=sha, uri=f"packages/{sha}")


def release(folder, model):
    write_release(folder / "release.json", first_release(model, "drawn"))
    return model


def release_next(folder, before, model):
    write_release(folder / "release.json", moved(before, "drawn", champion=model))


class Served:
    """Writes records of `model` as one worker's log file."""

    def __init__(self, folder: Path, model: ReleasedModel) -> None:
        self.folder, self.model, self._seed = folder, model, 100

    def write(self, count, shift=None, model=None, **more):
        """The log file, and the rows with their ids."""
        self._seed += 1
        return self.write_rows(draw_rows(count, self._seed, shift, **more), model)

    def write_rows(self, rows, model=None):
        day = self.folder / "records" / day_folder(day_number())
        day.mkdir(parents=True, exist_ok=True)
        path = day / f"host-{os.getpid()}-{time.time_ns():x}.ndjson"
        ids = [str(uuid7()) for _ in range(len(rows))]
        with path.open("wb") as file:
            for prediction_id, row in zip(ids, rows.to_dict("records"), strict=True):
                file.write(self._line(prediction_id, row, model or self.model))
        return path, rows.assign(id=ids)

    def _line(self, prediction_id, row, model):
        return record_line({
            "id": prediction_id, "at": datetime.now(UTC) - timedelta(seconds=1), "package_sha": model.package_sha,
            "model_version": model.version, "release_no": 0, "route": "champion", "pair_id": None, "client_hash": None,
            "batch_size": 1, "queue_ms": 0.1, "compute_ms": 2.0, "features": {name: row[name] for name in FEATURES},
            "embedding": [row[f"e{number}"] for number in range(32)], "answer": {"label": row["answer_label"]},
            "confidence": row["answer_confidence"], "confident": bool(row["answer_confident"]),
        })  # fmt: skip


def serve_drifted(folder, copies):
    """Records of images like those that the champion was tested on, all of them darker and hardly known.

    `copies` of each row, none quite like another: a stream of equal images would be a fault of the camera.
    """
    model = read_release(folder / "release.json").champion
    reference = pd.read_parquet(folder / model.uri / "reference.parquet")
    rows = pd.concat([reference] * copies, ignore_index=True)
    noise = 1 + 0.01 * np.random.default_rng(len(rows)).standard_normal((len(rows), len(MOVED)))
    rows[MOVED] = rows[MOVED] * noise
    Served(folder, model).write_rows(rows.assign(brightness=rows["brightness"] / 2, answer_confidence=0.3))
