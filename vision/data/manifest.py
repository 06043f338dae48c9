"""The manifest: one row an image of a dataset folder (`images/<label>/<file>`), made by content, sorted by path."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vision.data.features import FEATURES, describe
from vision.data.folders import EXTENSIONS

_TEXT, _FLAG, _COUNT = pa.string(), pa.bool_(), pa.int64()
SCHEMA = pa.schema(
    [
        *((name, _TEXT) for name in ("path", "label", "group", "sha256", "error", "format", "mode")),
        ("exif_orientation", _COUNT),
        ("frames", _COUNT),
        ("phash", _TEXT),
        ("blank", _FLAG),
        ("burnt", _FLAG),
        *((name, pa.float64()) for name in FEATURES),
    ]
)
COLUMNS: tuple[str, ...] = tuple(SCHEMA.names)


def list_images(root: Path) -> pd.DataFrame:
    """path (posix, relative to `root`), label, group (None where groups.csv says nothing), sorted by path."""
    files = [
        (path.relative_to(root).as_posix(), path.parent.name)
        for path in (root / "images").glob("*/*")
        if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")
    ]
    listing = pd.DataFrame(sorted(files), columns=["path", "label"], dtype=object)
    listing["group"] = None
    if (table := root / "groups.csv").is_file():
        groups = pd.read_csv(table, dtype=str, keep_default_na=False).set_index("path")["group"]
        named = listing["path"].isin(groups.index)
        listing.loc[named, "group"] = groups.loc[listing.loc[named, "path"]].to_numpy()
    return listing


def describe_files(root: Path, listing: pd.DataFrame) -> pd.DataFrame:
    """Manifest rows of these files, in their order; one file in memory at a time. A bad file gets an `error`."""
    rows = [_describe_file(root / path) for path in listing["path"]]
    described = pd.DataFrame(rows, index=listing.index, columns=[c for c in COLUMNS if c not in listing])
    return pd.concat([listing, described], axis=1)[list(COLUMNS)]


def write_manifest(rows: pd.DataFrame, path: Path) -> None:
    """Parquet of `SCHEMA`, whole or not at all. The types don't hang on what happens to be missing."""
    partial = path.with_name(f".{path.name}.partial")
    pq.write_table(pa.Table.from_pandas(rows, schema=SCHEMA, preserve_index=False), partial)
    partial.replace(path)


def _describe_file(path: Path) -> dict:
    try:
        return describe(path.read_bytes())
    except OSError as error:
        return describe(b"") | {"error": f"unreadable: {error.strerror or error}"}
