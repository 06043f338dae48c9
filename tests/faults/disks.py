"""Disks that are too small or read-only, as far as this user may make them, and databases that somebody holds."""

import os
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def _refusal() -> str:
    """Why this user may not mount; empty where it may."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with mounted(Path(folder), "size=64k"):
                return ""
        except (OSError, subprocess.CalledProcessError) as error:
            return str(getattr(error, "stderr", None) or error).strip().splitlines()[0]


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A file system in memory over `folder` until the block ends. Raises where mounting is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
    subprocess.run(command, capture_output=True, text=True, check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing can be written in `folder`. Permissions do not stop root, so that gets a mount."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        with mounted(folder, "ro,size=64k"):
            yield
        return
    folder.chmod(0o555)
    try:
        yield
    finally:
        folder.chmod(0o755)


@contextmanager
def locked(path):
    """Another process's exclusive lock, as far as SQLite can tell."""
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        holder.close()


REFUSAL = _refusal()
needs_mounts = pytest.mark.skipif(
    bool(REFUSAL), reason=f"a small disk can't be mounted here ({REFUSAL}); test_machine_faults.py stands in"
)
needs_read_only = pytest.mark.skipif(
    bool(REFUSAL) and os.geteuid() == 0, reason=f"root here, and no read-only disk can be mounted ({REFUSAL})"
)
