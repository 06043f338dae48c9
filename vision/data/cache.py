"""The image cache: every readable image of a data set, decoded once, in one memory-mapped uint8 array.

A folder with `images.npy` (uint8 [N, R, R, 3]), `rows.parquet` (the readable rows of the splits table, in the same
order) and `input.json` (how the images were made). Any process that sees the folder may fill any slice of it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from vision.errors import UserError
from vision.package import InputSpec
from vision.preprocess import ImageError, decode, to_cache

IMAGES, ROWS, INPUT = "images.npy", "rows.parquet", "input.json"


def create_cache(folder: Path, splits: pd.DataFrame, spec: InputSpec) -> int:
    """Lays out an empty cache (a sparse file) and returns N, the number of images to fill."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = splits[splits["error"].isna()].reset_index(drop=True)
    rows.to_parquet(folder / ROWS, index=False)
    (folder / INPUT).write_text(spec.model_dump_json())
    side_px = spec.side_px if spec.crop == "squash" else spec.resize_px
    shape = (len(rows), side_px, side_px, 3)
    np.lib.format.open_memmap(folder / IMAGES, mode="w+", dtype=np.uint8, shape=shape).flush()
    return len(rows)


def fill_cache(folder: Path, root: Path, start: int, stop: int) -> None:
    """Decodes images `start` to `stop` (of the cache's order) from the dataset folder `root` into the cache.

    Raises `UserError` for an image that could be read when the manifest was made and can't be any more.
    """
    spec = InputSpec.model_validate_json((folder / INPUT).read_text())
    paths = pd.read_parquet(folder / ROWS, columns=["path"])["path"].iloc[start:stop]
    images = np.load(folder / IMAGES, mmap_mode="r+")
    for index, path in enumerate(paths, start):
        try:
            images[index] = to_cache(decode((root / path).read_bytes()), spec)
        except (ImageError, OSError) as error:
            raise UserError(
                f"{root / path} has changed since the manifest was made: {error}",
                "the files that the manifest describes",
                "run the flow again, so that the data is described anew",
            ) from None
    images.flush()


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
