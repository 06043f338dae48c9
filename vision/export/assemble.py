"""Puts a model package together: all parts into a temporary folder, sealed, then renamed to its own hash."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from vision.errors import ClearError
from vision.package import INT8_MODEL, Card, Spec, open_package, seal_package

FILES = ("model.safetensors", "model.onnx", INT8_MODEL, "explain.onnx", "reference.parquet", "model_card.md")


@dataclass(frozen=True)
class PackageParts:
    """What goes into a package. Nothing here may hold a clock's time, or equal trainings would get different hashes.

    config: the resolved system config (JSON-able). files: name in the package -> file to copy, names of `FILES`.
    golden: a folder that `write_golden` filled (its `golden/`).
    """

    spec: Spec
    config: Mapping[str, Any]
    metrics: Mapping[str, Any]
    lineage: Mapping[str, Any]
    files: Mapping[str, Path]
    golden: Path
    cards: Mapping[str, Card] = field(default_factory=dict)


def assemble_package(packages: Path, parts: PackageParts, scratch: Path | None = None) -> str:
    """Makes `<packages>/<package_sha>` and returns the hash. A package that is there already is checked and kept.

    scratch: a folder on the same disk where it is put together, by default `packages`; a killed call leaves it there.
    Raises `ValueError` for a file name that packages don't have, `FileNotFoundError` for a missing part.
    """
    unknown = sorted(set(parts.files) - set(FILES))
    if unknown:
        raise ValueError(f"packages have no file {', '.join(unknown)}; they have {', '.join(FILES)}")
    packages.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=scratch or packages))
    try:
        _fill(partial, parts)
        package_sha = seal_package(partial)
        _publish(partial, packages / package_sha)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    open_package(packages / package_sha, package_sha)
    return package_sha


def _fill(folder: Path, parts: PackageParts) -> None:
    _write_json(folder / "spec.json", parts.spec.model_dump(mode="json", by_alias=True))
    _write_json(folder / "metrics.json", parts.metrics)
    _write_json(folder / "lineage.json", parts.lineage)
    cards = {label: card.model_dump(exclude_defaults=True) for label, card in parts.cards.items()}
    _write_yaml(folder / "cards.yaml", cards)
    _write_yaml(folder / "config.yaml", parts.config)
    for name, source in parts.files.items():
        shutil.copyfile(source, folder / name)
    shutil.copytree(parts.golden, folder / "golden", copy_function=shutil.copyfile)


def _publish(partial: Path, target: Path) -> None:
    """Renames `partial` to `target` unless a whole package lies there; a damaged one is replaced."""
    partial.chmod(0o755)
    if target.is_dir() and _is_whole(target):
        return
    if target.exists():
        shutil.rmtree(target)
    try:
        partial.rename(target)
    except OSError:
        if not _is_whole(target):
            raise


def _is_whole(folder: Path) -> bool:
    try:
        open_package(folder, folder.name)
    except ClearError:
        return False
    return True


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n")


def _write_yaml(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True))
