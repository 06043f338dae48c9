"""Images that a client asked to keep: bytes under their own hash, and a note beside them that names the prediction."""

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


class Inbox:
    """`<folder>/dt=…/<sha256>.<format>`, once for each content and day, and `<prediction id>.json` for each answer.

    `vision.records_seal.drop_old` takes its days away again.
    """

    def __init__(self, folder: Path, metrics: SimpleNamespace) -> None:
        self.folder, self._counted = folder, metrics.kept_images

    def keep(self, data: bytes, prediction_id: str, client_hash: str | None) -> bool:
        """data: an image that was answered. Blocks. False when it could not be kept: the answer goes out all the same.

        Nothing of the client's own file name comes into a path.
        """
        folder = self.folder / day_folder(day_number())
        name = hashlib.sha256(data).hexdigest() + _suffix(data)
        note = {
            "id": prediction_id,
            "file": name,
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "client_hash": client_hash,
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / name).is_file():
                _write(folder / name, data)
            _write(folder / f"{prediction_id}{NOTE}", json.dumps(note).encode())
        except OSError as error:
            log.error("an image could not be kept in %s: %s", self.folder, error)
            self._counted.labels("lost").inc()
            return False
        self._counted.labels("kept").inc()
        return True


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
