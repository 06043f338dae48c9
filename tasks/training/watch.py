"""Follows the file that a training appends to, from another process."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

POLL_S = 0.5


@contextmanager
def watched(path: Path, on_record: Callable[[dict[str, Any]], None] | None) -> Iterator[None]:
    """While inside, calls on_record once for each epoch's record that appears in `path`, in order, from a thread.

    The file may be rewritten shorter (a training that resumed); an epoch that was seen is not told again. An error of
    on_record ends the watching and is raised on leaving, unless the body raised one of its own.
    """
    if on_record is None:
        yield
        return
    stop, errors = threading.Event(), []

    def follow() -> None:
        seen = 0
        try:
            while True:
                last_look = stop.wait(POLL_S)
                for record in read_records(path):
                    if record["epoch"] > seen:
                        seen = record["epoch"]
                        on_record(record)
                if last_look:
                    return
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if errors:
        raise errors[0]


def read_records(path: Path) -> list[dict[str, Any]]:
    """One JSON object a line; a last line that is still being written is left for the next look."""
    if not path.is_file():
        return []
    whole = path.read_text().rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines()]
