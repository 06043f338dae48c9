"""The image cache: every readable image of a data set, decoded once, in one memory-mapped uint8 array.

A folder with `images.npy` (uint8 [N, R, R, 3]), `rows.parquet` (the readable rows of the splits table, in the same
order) and `input.json` (how the images were made). Any process that sees the folder may fill any slice of it.
"""

import errno
import hashlib
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from vision.errors import UserError
from vision.package import InputSpec
from vision.preprocess import ImageError, centre_crop, decode, to_cache

IMAGES, ROWS, INPUT = "images.npy", "rows.parquet", "input.json"
ROWS_IN_GROUP = 4096
"""Rows of `rows.parquet` that are read to fill a slice: not all of them for each."""


def create_cache(folder: Path, splits: pd.DataFrame, spec: InputSpec) -> int:
    """Lays out an empty cache and returns N, the number of images to fill. Raises `OSError` when the disk has no room."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = splits[splits["error"].isna()].reset_index(drop=True)
    rows.to_parquet(folder / ROWS, index=False, row_group_size=ROWS_IN_GROUP)
    (folder / INPUT).write_text(spec.model_dump_json())
    side_px = spec.side_px if spec.crop == "squash" else spec.resize_px
    shape = (len(rows), side_px, side_px, 3)
    _lay_out(folder / IMAGES, shape)
    return len(rows)


def _lay_out(path: Path, shape: tuple[int, ...]) -> None:
    """Takes the file's blocks now: a write through a memory map to a full disk kills the process (SIGBUS)."""
    try:
        np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape).flush()
        if hasattr(os, "posix_fallocate"):  # not on macOS
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from None


def fill_cache(folder: Path, root: Path, start: int, stop: int) -> None:
    """Decodes images `start` to `stop` (of the cache's order) from the dataset folder `root` into the cache.

    Raises `UserError` for an image that isn't what it was when the manifest was made, `OSError` when the machine can't
    read one.
    """
    spec = InputSpec.model_validate_json((folder / INPUT).read_text())
    images = np.load(folder / IMAGES, mmap_mode="r+")
    for index, (path, sha256) in enumerate(_files(folder, start, stop), start):
        try:
            data = (root / path).read_bytes()
            if hashlib.sha256(data).hexdigest() != sha256:
                raise OSError("it has other bytes")
            images[index] = to_cache(decode(data, math.inf, spec.draft_px), spec)  # its size was accepted then
        except (ImageError, OSError) as error:
            if getattr(error, "errno", None) not in (None, errno.ENOENT):
                raise  # the machine's fault, and none of the file
            raise UserError(
                f"{root / path} has changed since the manifest was made: {error}",
                "the files that the manifest describes",
                "run the flow again, so that the data is described anew",
            ) from None
    images.flush()


def _files(folder: Path, start: int, stop: int) -> list[tuple[str, str]]:
    """(path, sha256) of images `start` to `stop`."""
    groups = range(start // ROWS_IN_GROUP, (stop - 1) // ROWS_IN_GROUP + 1)
    table = pq.ParquetFile(folder / ROWS).read_row_groups(list(groups), columns=["path", "sha256"])
    table = table.slice(start - groups.start * ROWS_IN_GROUP, stop - start)
    return list(zip(table.column("path").to_pylist(), table.column("sha256").to_pylist(), strict=True))


@dataclass(frozen=True)
class Crops:
    """What a model sees of n cached images, read from the disk when asked for: `crops[positions]`, positions a slice or
    int [b], is uint8 [b, S, S, 3].
    """

    images: np.ndarray
    indices: np.ndarray
    spec: InputSpec

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, positions: np.ndarray | slice) -> np.ndarray:
        return centre_crop(self.images[self.indices[positions]], self.spec)


@dataclass(frozen=True)
class ImageCache:
    """`images`: uint8 [N, R, R, 3], on disk until touched. `rows`: the splits table of the same N images."""

    images: np.ndarray
    rows: pd.DataFrame
    spec: InputSpec

    @classmethod
    def open(cls, folder: Path) -> "ImageCache":
        """For reading."""
        return cls(
            images=np.load(folder / IMAGES, mmap_mode="r"),
            rows=pd.read_parquet(folder / ROWS),
            spec=InputSpec.model_validate_json((folder / INPUT).read_text()),
        )

    def indices(self, split: str) -> np.ndarray:
        """int64: rows of one split, in order."""
        return np.flatnonzero((self.rows["split"] == split).to_numpy())

    def crops(self, split: str) -> Crops:
        """The images of one split as the model sees them, in order."""
        return Crops(self.images, self.indices(split), self.spec)
