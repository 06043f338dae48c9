"""Hashes of what a result came from: source code, tables, the git commit. Files only."""

import ast
import functools
import hashlib
import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
OURS = ("vision", "configs", "expectations", "tasks", "flows", "bentos")


def sha256_json(value: Any) -> str:
    """sha256 of the canonical JSON (sorted keys, no spaces) of a JSON-able value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def module_file(module: str, project: Path = PROJECT) -> Path | None:
    """The file of one of our modules (`vision.package` or a package's `__init__`), None where there is none."""
    base = project.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@functools.cache
def imported_modules(source: str) -> frozenset[str]:
    """Our modules that a source file's own top-level statements import. Kept by the text: a flow's stages share most files.

    Imports inside functions are left out on purpose: a stage names the ones it runs as roots, so that changing a plot
    doesn't retrain a model.
    """
    found: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(name for name in found if name.split(".")[0] in OURS)


def source_sha(roots: Iterable[str], project: Path = PROJECT) -> str:
    """sha256 over the text of the root modules and, transitively, of every module of ours that they import.

    Raises `ModuleNotFoundError` for a root that has no file: a stage that hashed nothing would never run again.
    """
    files: dict[str, str] = {}
    waiting = list(roots)
    for root in waiting:
        if module_file(root, project) is None:
            raise ModuleNotFoundError(f"no source file for module {root}")
    while waiting:
        path = module_file(waiting.pop(), project)
        if path is None or (name := path.relative_to(project).as_posix()) in files:
            continue
        source = path.read_bytes()
        files[name] = hashlib.sha256(source).hexdigest()
        waiting.extend(imported_modules(source.decode()))
    return sha256_json(files)


def git_state(folder: Path = PROJECT) -> dict[str, Any]:
    """{commit, dirty} of the checkout that `folder` lies in; commit None outside one."""

    def git(*words: str) -> str | None:
        run = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
        return run.stdout.strip() if run.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    return {"commit": commit, "dirty": bool(git("status", "--porcelain")) if commit else None}
