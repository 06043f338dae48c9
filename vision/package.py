"""The model package: one flat, immutable folder, the only thing that passes from training to serving. No torch, no pickle."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from vision.errors import MachineError, UserError
from vision.settings import Section

MANIFEST = "MANIFEST.json"
INT8_MODEL = "model.int8.onnx"
REQUIRED = (
    "spec.json",
    "model.safetensors",
    "model.onnx",
    "metrics.json",
    "reference.parquet",
    "config.yaml",
    "lineage.json",
)


class Card(Section):
    """What a label means to the person who asked: shown with an answer. Empty fields are left out."""

    crop: str = ""
    disease: str = ""
    severity: Literal["", "none", "low", "moderate", "high"] = ""
    action: str = ""
    product: str = ""
    note: str = ""


DRAFT_GAP = 2
"""Pixels that are left of a draft, as a multiple of `resize_px`; Pillow's `thumbnail` takes it for good (`reducing_gap`)."""


class InputSpec(Section):
    """From file bytes to uint8 [H, W, 3]: decode, EXIF orientation, short side to `resize_px`, centre crop to `side_px`."""

    side_px: Annotated[int, Field(ge=16, le=1024)] = 224
    resize_px: Annotated[int, Field(ge=16, le=2048)] = 256
    crop: Literal["center", "squash"] = "center"
    """`squash` resizes to side_px x side_px without keeping the aspect."""
    decoder: Literal["pil", "pil_draft"] = "pil_draft"
    """`pil_draft` lets libjpeg halve a large photograph while twice `resize_px` are left on each side: three fifths of the time
    of a 1080p photograph, values that differ by 0.4 of 255 in the mean. A package is served as it was trained: older ones say `pil`."""

    @model_validator(mode="after")
    def crop_fits(self):
        if self.resize_px < self.side_px:
            raise ValueError(f"resize_px must be at least side_px, got {self.resize_px} < {self.side_px}")
        return self

    @property
    def draft_px(self) -> int | None:
        """Pixels that a decoder leaves on each side at least; None: all."""
        return DRAFT_GAP * self.resize_px if self.decoder == "pil_draft" else None


class Int8(Section):
    """Whether `model.int8.onnx` is in the package, and what its worst class lost on held-back images (share of recall)."""

    passed: bool = False
    drop: float | None = None


class Spec(Section):
    """`spec.json`: all that a server needs to know to answer with this package."""

    schema_no: Annotated[int, Field(alias="schema", ge=1, le=1)] = 1
    kind: str
    arch: str
    labels: tuple[str, ...]
    input: InputSpec
    outputs: tuple[str, ...]
    temperature: Annotated[float, Field(gt=0)] = 1.0
    threshold: Annotated[float, Field(ge=0)] = 0.5
    """The score that a find needs, of kinds whose answers hold finds."""
    confident_at: Annotated[float, Field(ge=0, le=1)] = 0.70
    int8: Int8 = Int8()
    bfloat16: bool | None = None
    """Whether the graph agreed in bfloat16 with the trained network. None: not compared where the package was built."""


class Package(Section):
    """An opened package: where it lies, its hash and its spec. `open_package` has checked every file."""

    folder: Path
    package_sha: str
    spec: Spec


def precision_for(package: Package, asked: str) -> str:
    """What an engine is to be asked for: `asked`, but float32 for `auto` where bfloat16 lost its parity.

    Raises `UserError` for a precision that the package has not proved.
    """
    spec, has_int8 = package.spec, (package.folder / INT8_MODEL).is_file()
    if asked == "auto" and spec.bfloat16 is False:
        return "float32"
    refused = {
        "int8": (not (spec.int8.passed and has_int8), "its INT8 model has not passed the gate"),
        "bfloat16": (spec.bfloat16 is False, "in bfloat16 it answers otherwise than the trained network"),
    }
    lost, why = refused.get(asked, (False, ""))
    if lost:
        raise UserError(
            f"serving.precision = {asked}, but package {package.package_sha[:12]}: {why}",
            "auto, float32, or a package whose spec.json says that this precision passed",
            "set serving.precision: auto",
        )
    return asked


def sha256_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal_package(folder: Path) -> str:
    """Writes MANIFEST.json over the files that lie in `folder` and returns its sha256, the `package_sha`."""
    missing = [name for name in REQUIRED if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"package {folder} lacks {', '.join(missing)}")
    files = {
        path.relative_to(folder).as_posix(): sha256_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    text = json.dumps({"schema": 1, "files": files}, indent=1, sort_keys=True)
    partial = folder / f".{MANIFEST}.partial"
    partial.write_text(text)
    partial.replace(folder / MANIFEST)
    return hashlib.sha256(text.encode()).hexdigest()


def open_package(folder: Path, package_sha: str | None = None) -> Package:
    """Checks every file against MANIFEST.json, and the manifest against `package_sha` where one is given.

    Raises `MachineError` naming the first file that is missing, changed or not in the manifest, `UserError` where there
    is no package at all.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise UserError(f"no {MANIFEST} in {folder}", "a sealed model package", "build the package again (make train)")
    found_sha, text = sha256_file(manifest), manifest.read_text(errors="replace")
    if package_sha not in (None, found_sha):
        raise _damaged(folder, f"its hash is {found_sha[:12]}, not {package_sha[:12]}")
    try:
        files = json.loads(text)["files"]
    except (ValueError, KeyError, TypeError):
        raise _damaged(folder, f"{MANIFEST} can't be read") from None
    _check_files(folder, files)
    try:
        spec = Spec.model_validate_json((folder / "spec.json").read_text())
    except ValidationError as error:
        raise _damaged(folder, f"spec.json is not of this version: {error.errors()[0]['msg']}") from None
    return Package(folder=folder, package_sha=found_sha, spec=spec)


def _check_files(folder: Path, files: dict[str, str]) -> None:
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {MANIFEST}
    for name in sorted(present | set(files)):
        if name not in files:
            raise _damaged(folder, f"{name} is not in its manifest")
        if name not in present:
            raise _damaged(folder, f"{name} is missing")
        if sha256_file(folder / name) != files[name]:
            raise _damaged(folder, f"{name} has changed since it was sealed")


def _damaged(folder: Path, what: str) -> MachineError:
    return MachineError(
        f"package {folder}: {what}",
        "a package whose files all match its MANIFEST.json",
        "remove that folder and run again: the registry's copy is fetched, or the package is made anew",
    )
