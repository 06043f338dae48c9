"""The manifest: one row an image of a dataset folder, made by content, sorted by path.

The label is the folder's name (`images/<label>/<file>`), or what `annotations.json` says, where there is one: then `boxes`
says where the image's defects are (see `vision.data.boxes.geometry`), and is empty for an image without any. It is null where that
is not known, as in all data without boxes.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vision.data.boxes.annotations import ImageBoxes, read_annotations
from vision.data.features import FEATURES, describe
from vision.data.folders import EXTENSIONS

_TEXT, _FLAG, _COUNT = pa.string(), pa.bool_(), pa.int64()
BOX = pa.struct([("label", _TEXT), *((side, pa.float64()) for side in ("x1", "y1", "x2", "y2"))])
SCHEMA = pa.schema(
    [
        *((name, _TEXT) for name in ("path", "label", "group", "sha256", "error", "format", "mode")),
        ("exif_orientation", _COUNT),
        ("frames", _COUNT),
        ("phash", _TEXT),
        ("blank", _FLAG),
        ("burnt", _FLAG),
        *((name, pa.float64()) for name in FEATURES),
        ("boxes", pa.list_(BOX)),
    ]
)
COLUMNS: tuple[str, ...] = tuple(SCHEMA.names)
PARTS_AT_ONCE = 64
BYTES_A_PIXEL = 8
"""Four channels of 16 bits, not compressed: no format that is read needs more."""


def list_images(root: Path) -> pd.DataFrame:
    """path (posix, relative to `root`), label, group (None where groups.csv says nothing), sorted by path.

    And, of data with boxes, `boxes` and `fault` (why annotations and file don't match). An image that is annotated but not
    there has its row.
    """
    if (annotated := read_annotations(root)) is not None:
        return _with_groups(_annotated_rows(annotated), root)
    files = [
        (path.relative_to(root).as_posix(), path.parent.name)
        for path in (root / "images").glob("*/*")
        if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")
    ]
    return _with_groups(pd.DataFrame(sorted(files), columns=["path", "label"], dtype=object), root)


def _annotated_rows(images: Sequence[ImageBoxes]) -> pd.DataFrame:
    rows = pd.DataFrame(
        {"path": [image.path for image in images], "label": [image.label for image in images]}, dtype=object
    )
    boxes = [None if image.boxes is None else [box._asdict() for box in image.boxes] for image in images]
    rows["boxes"] = pd.Series(boxes, index=rows.index, dtype=object)
    rows["fault"] = pd.Series([image.fault for image in images], index=rows.index, dtype=object)
    return rows.sort_values("path", ignore_index=True)


def _with_groups(listing: pd.DataFrame, root: Path) -> pd.DataFrame:
    listing["group"] = None
    if (table := root / "groups.csv").is_file():
        groups = pd.read_csv(table, dtype=str, keep_default_na=False).set_index("path")["group"]
        named = listing["path"].isin(groups.index)
        listing.loc[named, "group"] = groups.loc[listing.loc[named, "path"]].to_numpy()
    return listing


def describe_files(root: Path, listing: pd.DataFrame, max_megapixels: float = 50.0) -> pd.DataFrame:
    """Manifest rows of these files, in their order; one file in memory at a time. A bad file gets an `error`."""
    rows = [_describe_file(root / path, max_megapixels) | {"boxes": None} for path in listing["path"]]
    described = pd.DataFrame(rows, index=listing.index, columns=[c for c in COLUMNS if c not in listing])
    whole = pd.concat([listing, described], axis=1)
    if "fault" in whole:
        whole["error"] = whole["fault"].where(whole["fault"].notna(), whole["error"])
    return whole[list(COLUMNS)]


def write_manifest(rows: pd.DataFrame, path: Path) -> None:
    """Parquet of `SCHEMA`, whole or not at all. The types don't hang on what happens to be missing."""
    partial = path.with_name(f".{path.name}.partial")
    pq.write_table(pa.Table.from_pandas(rows, schema=SCHEMA, preserve_index=False), partial)
    partial.replace(path)


def join_manifests(parts: Sequence[Path], path: Path) -> None:
    """One manifest of several, in their order; some parts in memory at a time."""
    partial = path.with_name(f".{path.name}.partial")
    with pq.ParquetWriter(partial, SCHEMA) as writer:
        for start in range(0, len(parts), PARTS_AT_ONCE):
            tables = [pq.read_table(part) for part in parts[start : start + PARTS_AT_ONCE]]
            writer.write_table(pa.concat_tables(tables))
    partial.replace(path)


def _describe_file(path: Path, max_megapixels: float) -> dict:
    """A file that is larger than the largest image allowed could be is not read into memory.

    Raises `OSError` when the machine can't read a file that is there: a later try may, so it is no property of the image.
    """
    most = int(max_megapixels * 1e6 * BYTES_A_PIXEL) + 2**20
    try:
        if (size := path.stat().st_size) <= most:
            return describe(path.read_bytes(), max_megapixels)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:  # removed since it was listed; `vision.data.snapshot` tells
        return describe(b"") | {"error": f"unreadable: {error.strerror or error}"}
    why = f"too_many_bytes: {size:,} bytes, an image of {max_megapixels:g} megapixels has at most {most:,}"
    return describe(b"") | {"error": why, "sha256": sha256, "file_bytes": float(size)}
