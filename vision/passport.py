"""The passport: everything that led to one prediction, joined from files. No torch, no registry, no server."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from vision.package import MANIFEST, sha256_file
from vision.records_find import find_feedback, find_record
from vision.stage_files import finished

LINEAGE = "lineage.json"
LEFT_OUT = ("schema", "embedding")


@dataclass(frozen=True)
class Places:
    """Where one system's files lie; folders that aren't there have nothing to say.

    packages: folders that are packages or hold them by their hash. stages: the stage store of the flows.
    """

    system: str
    records: Path
    feedback: Path
    packages: tuple[Path, ...]
    stages: Path


class PassportModel(BaseModel):
    """Which model answered, and how it went into service."""

    system: str
    version: int
    package_sha: str
    arch: str | None = None
    bento: str | None = Field(None, description="the image that was built of this version")
    release_no: int
    route: str = Field(description="champion, canary or shadow")


class Passport(BaseModel):
    """GET /predictions/{id}/lineage."""

    prediction: dict[str, Any] = Field(description="the record: time, answer, features, batch, waiting and computing")
    model: PassportModel
    training: dict[str, Any] | None = Field(
        None, description="the package's lineage: data, split, contract, config, git commit, run and weights, by hash"
    )
    gate: dict[str, Any] | None = Field(None, description="the verdict that let the package pass")
    feedback: dict[str, Any] | None = Field(None, description="what was said of this prediction later")
    missing: list[str] = Field([], description="what could not be joined, and why")


def trace(prediction_id: str, places: Places) -> Passport | None:
    """The passport of a prediction, None for an id that no record has. A package that is gone is said to be.

    Raises `ValueError` for a text that is no prediction id.
    """
    record = find_record(places.records, prediction_id)
    return None if record is None else join(record, places)


def join(record: dict[str, Any], places: Places) -> Passport:
    """The passport of a prediction whose record is at hand."""
    package_sha, missing = record["package_sha"], []
    package = _package(places.packages, package_sha)
    training = _sealed_json(package, LINEAGE, package_sha, missing)
    spec = _sealed_json(package, "spec.json", package_sha, missing) if training else None
    gate = gate_verdict(places.stages, package_sha)
    if gate is None:
        missing.append("gate: the stages of this package's training are not on this machine")
    return Passport(
        prediction={name: value for name, value in record.items() if name not in LEFT_OUT},
        model=PassportModel(
            system=places.system,
            version=record["model_version"],
            package_sha=package_sha,
            arch=spec["arch"] if spec else None,
            bento=_bento(places.stages, package_sha),
            release_no=record["release_no"],
            route=record["route"],
        ),
        training=training,
        gate=gate,
        feedback=find_feedback(places.feedback, record["id"]),
        missing=missing,
    )


def _package(folders: tuple[Path, ...], package_sha: str) -> Path | None:
    """The folder of the package with this hash."""
    for folder in folders:
        for path in (folder / package_sha, folder):
            manifest = path / MANIFEST
            if manifest.is_file() and sha256_file(manifest) == package_sha:
                return path
    return None


def _sealed_json(package: Path | None, name: str, package_sha: str, missing: list[str]) -> dict[str, Any] | None:
    """A file of the package, only when it is still what was sealed; else None, and `missing` says why."""
    if package is None:
        missing.append(f"training: package {package_sha[:12]} is no longer on this machine")
        return None
    files = json.loads((package / MANIFEST).read_text())["files"]
    data = (package / name).read_bytes() if (package / name).is_file() else b""
    if hashlib.sha256(data).hexdigest() != files.get(name):
        missing.append(f"training: {name} of package {package_sha[:12]} has changed since it was sealed")
        return None
    return json.loads(data)


def gate_verdict(stages: Path, package_sha: str) -> dict[str, Any] | None:
    """The gate's verdict on the export that made this package; None where its stages are not in `stages`."""
    exports = {stage["key"] for stage in finished(stages / "export") if stage["made"].get("package_sha") == package_sha}
    for stage in finished(stages / "gate"):
        if stage["inputs"].get("package") in exports:
            return stage["made"]["verdict"]
    return None


def _bento(stages: Path, package_sha: str) -> str | None:
    for stage in finished(stages / "build"):
        if stage["inputs"].get("package_sha") == package_sha:
            return stage["made"]["tag"]
    return None
