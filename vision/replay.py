"""Runs a prediction again: an image given again, through the package that its record names, compared with the record.

The package runs in float32 on ONNX Runtime, whatever engine answered: so a record of bfloat16 or int8 may differ by the
tolerance of that precision, which is the one that a service is held to on golden images.
"""

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vision.data.features import measure_image
from vision.data.labels.intake import kept_image
from vision.export.golden import TOLERANCES
from vision.export.runtime import onnx_run
from vision.kinds import answering
from vision.kinds.base import Answering
from vision.package import Package
from vision.preprocess import decode, preprocess
from vision.settings import Section

ROUNDING = 1e-3
"""Of a number that a record holds with four significant digits, relative."""
UNNAMED = "bfloat16"
"""The widest precision that a service chooses by itself: for records that don't name theirs."""


class Compared(Section):
    """One part of the answer: what the record says and what came out now; difference: the largest of its numbers."""

    what: str
    recorded: str
    now: str
    difference: float
    allowed: float
    equal: bool


class Replay(Section):
    """same_image: None where nothing on record can tell. precision: whose tolerance the record is held to; engine: that
    answered, None where the record names none.
    """

    id: str
    package_sha: str
    precision: str
    engine: str | None
    same_image: bool | None
    image: str
    parts: tuple[Compared, ...]

    @property
    def equal(self) -> bool:
        return self.same_image is not False and all(part.equal for part in self.parts)


def replay(record: Mapping[str, Any], data: bytes, package: Package, inbox: Path, max_megapixels: float) -> Replay:
    """data: bytes of an image file. inbox: of the system, which may hold the image. Raises `ImageError` for no image."""
    image = decode(data, max_megapixels)
    pixels = preprocess(data, package.spec.input, max_megapixels)
    outputs = onnx_run(package.folder / "model.onnx", threads=1)(pixels[np.newaxis])
    kind, precision = answering(package.spec.kind), record.get("precision") or UNNAMED
    now = kind.answers(outputs, package.spec, [image.size], top_k=len(package.spec.labels))[0]
    same, why = _same_image(record, data, measure_image(image, data), inbox)
    tolerance = TOLERANCES[precision]
    parts = (
        _compare_answer(kind, record, now, tolerance),
        _compare_embedding(np.array(record["embedding"]), np.asarray(outputs["embedding"][0]), tolerance),
    )
    return Replay(
        id=record["id"], package_sha=package.package_sha, precision=precision, engine=record.get("engine"),
        same_image=same, image=why, parts=parts,
    )  # fmt: skip


def _same_image(
    record: Mapping[str, Any], data: bytes, measured: Mapping[str, float], inbox: Path
) -> tuple[bool | None, str]:
    """By content where the image was kept, else by the features on record."""
    kept = kept_image(inbox, record["id"])
    if kept is not None:
        same = hashlib.sha256(data).hexdigest() == kept.stem
        return same, f"{'the' if same else 'not the'} image that was kept ({kept.stem[:12]})"
    known = {name: value for name, value in record["features"].items() if name in measured and _is_number(value)}
    if not known:
        return None, "the record has no features of its image: only the answer can be compared"
    off = [
        f"{name} {known[name]:.4g} on record, {measured[name]:.4g} here"
        for name in known
        if not np.isclose(known[name], measured[name], rtol=ROUNDING, atol=1e-9)
    ]
    return not off, f"another image: {'; '.join(off[:3])}" if off else f"{len(known)} features equal those on record"


def _is_number(value: float | None) -> bool:
    """A server describes a sample of its images only."""
    return value is not None and math.isfinite(value)


def _compare_answer(kind: Answering, record: Mapping[str, Any], now: Mapping[str, Any], tolerance: float) -> Compared:
    """As the kind compares two answers."""
    recorded = {**record["answer"], "confidence": record["confidence"]}
    difference, reasons = kind.compare(recorded, now, tolerance)
    return Compared(
        what="answer",
        recorded=f"{recorded.get('label')} {record['confidence']:.6f}",
        now=f"{now.get('label')} {now['confidence']:.6f}",
        difference=difference,
        allowed=tolerance,
        equal=not reasons,
    )


def _compare_embedding(then: np.ndarray, here: np.ndarray, tolerance: float) -> Compared:
    same_length = then.shape == here.shape
    difference = float(np.abs(then - here).max(initial=0.0)) if same_length else float(max(len(then), len(here)))
    close = same_length and np.allclose(then, here, atol=tolerance, rtol=tolerance + ROUNDING)
    return Compared(
        what="embedding",
        recorded=f"{len(then)} numbers",
        now=f"{len(here)} numbers",
        difference=difference,
        allowed=tolerance,
        equal=bool(close),
    )
