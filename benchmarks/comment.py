"""The last line of a benchmark's output, its JSON, as a table in Markdown. `python -m benchmarks.comment FILE`"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vision.edge import DONE, guarded
from vision.errors import UserError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    file = parser.parse_args().file

    def show() -> int:
        print(table(file.read_text()))
        return DONE

    return guarded(show, kept="nothing was changed")


def table(output: str) -> str:
    """Raises `UserError` when its last line is no JSON object."""
    lines = output.strip().splitlines()
    try:
        found = json.loads(lines[-1]) if lines else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UserError("the last line is no JSON object", "the whole output of a benchmark", "run it again")
    rows = [f"| {name} | {value} |" for name, value in flat(found)]
    return "\n".join(["| measured on this change | |", "|---|---|", *rows])


def flat(found: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in found.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, f"{value:g}" if isinstance(value, float) else str(value).replace("|", "¦")


if __name__ == "__main__":
    sys.exit(main())
