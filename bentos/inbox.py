"""Images that a client asked to keep: bytes under their own hash, and a note beside them that names the prediction."""

import fcntl
import hashlib
import json
import logging
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

from vision.records import day_folder, day_number

log = logging.getLogger("bentos.inbox")
SUFFIXES = ((b"\xff\xd8", ".jpg"), (b"\x89PNG", ".png"), (b"RIFF", ".webp"), (b"BM", ".bmp"))
"""Of the formats that `vision.preprocess` reads, by how their files begin."""
NOTE = ".json"
MODE = 0o640
SIZE = ".size"
"""In the inbox: the day that it is about, and its bytes so far."""


class Inbox:
    """`<folder>/dt=…/<sha256>.<format>`, once for each content and day, and `<prediction id>.json` for each answer.

    `vision.records_seal.drop_old` takes its days away again.
    """

    def __init__(self, folder: Path, max_bytes: int, metrics: SimpleNamespace) -> None:
        """max_bytes: of one day, over all workers of this host."""
        self.folder, self._counted, self._max_bytes = folder, metrics.kept_images, max_bytes
        self._told = ""

    def keep(self, data: bytes, prediction_id: str, client_hash: str | None) -> bool:
        """data: an image that was answered. Blocks. False when it could not be kept: the answer goes out all the same.

        Nothing of the client's own file name comes into a path.
        """
        folder = self.folder / day_folder(day_number())
        name = hashlib.sha256(data).hexdigest() + _suffix(data)
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        note = json.dumps({"id": prediction_id, "file": name, "at": at, "client_hash": client_hash}).encode()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            result = "kept" if self._store({folder / name: data, folder / f"{prediction_id}{NOTE}": note}) else "full"
        except OSError as error:
            log.error("an image could not be kept in %s: %s", self.folder, error)
            result = "lost"
        if result == "full" and self._told != folder.name:
            self._told = folder.name
            log.warning("%s is full for %s: images are answered and not kept", self.folder, folder.name)
        self._counted.labels(result).inc()
        return result == "kept"

    def _store(self, files: dict[Path, bytes]) -> bool:
        """Writes those that are not there. False, and nothing is written, when the day has no room for them. Raises
        `OSError`."""
        missing = {path: data for path, data in files.items() if not path.is_file()}
        folder, size = next(iter(files)).parent, sum(map(len, missing.values()))
        # Counted first: workers that write at once don't pass the limit together.
        if not _count(self.folder / SIZE, folder, size, self._max_bytes):
            return False
        try:
            for path, data in missing.items():
                _write(path, data)
        except OSError:
            _count(self.folder / SIZE, folder, -size, self._max_bytes)
            raise
        return True


def _count(path: Path, folder: Path, size: int, max_bytes: int) -> bool:
    """Adds `size` to what `path` says of the day `folder`, in one step for all processes; False when that is too much."""
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, MODE), "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        day, _, number = file.read().partition(" ")
        held = int(number) if day == folder.name and number.isdecimal() else _size(folder)
        if size > 0 and held + size > max_bytes:
            return False
        file.seek(0)
        file.truncate()
        file.write(f"{folder.name} {max(0, held + size)}")
        return True


def _size(folder: Path) -> int:
    with os.scandir(folder) as found:
        return sum(entry.stat().st_size for entry in found)


def _suffix(data: bytes) -> str:
    return next((suffix for start, suffix in SUFFIXES if data.startswith(start)), ".bin")


def _write(path: Path, data: bytes) -> None:
    """Aside, then renamed: what has the name is whole."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        partial.touch(MODE)
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
