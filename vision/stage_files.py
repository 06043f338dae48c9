"""Finished stages as files: what `tasks/stages.py` left, for those who only read it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DONE = "stage.json"


def finished(folder: Path) -> Iterator[dict[str, Any]]:
    """`stage.json` of each finished run of the stage in `folder`, the latest first; `folder` stands in each."""
    files = [path for path in folder.glob(f"*/{DONE}") if path.is_file()]
    for path in sorted(files, key=lambda path: path.stat().st_mtime, reverse=True):
        yield {**json.loads(path.read_text()), "folder": path.parent}
