"""What a batch is made of: image files of a folder, of a manifest or of a bucket, by their full names."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd

from vision.data.folders import EXTENSIONS
from vision.errors import UserError

TABLES = (".csv", ".parquet")
COLUMN = "path"
SCHEMES = ("s3", "gs", "gcs", "hdfs", "file")
"""What pyarrow opens by itself. S3's keys come from where its own tools look: environment, ~/.aws, the machine's role."""
Read = Callable[[str], bytes]


def list_inputs(source: str) -> list[str]:
    """Full names (absolute paths or URIs) of the images of `source`, sorted, each once.

    source: a folder or a bucket's (all images below it), or a table with a column `path` whose relative paths start at
    the table's folder. Raises `UserError` for a source that isn't there, has no image, or that nothing here can open, and
    for a name that is no UTF-8.
    """
    if "://" in source:
        _refuse_keys(source)
        names = _in_bucket(source)
    elif Path(source).suffix.lower() in TABLES and not Path(source).is_dir():
        names = _in_table(Path(source))
    else:
        names = _in_folder(Path(source))
    found = sorted(set(names))
    if not found:
        raise UserError(f"no image in {source}", f"files that end in {' '.join(EXTENSIONS)}", "check FROM")
    _refuse_unspeakable(found)
    return found


def inputs_sha(names: Iterable[str]) -> str:
    """Of the list, not of what lies there: each image's own hash goes with its answer."""
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def reader() -> Read:
    """A function from full names to bytes; it opens each bucket once. Raises `OSError` where the machine can't read."""
    systems: dict[str, object] = {}

    def read(name: str) -> bytes:
        if "://" not in name:
            return Path(name).read_bytes()
        address, _, query = name.partition("?")
        root, path = _split(address)
        key = f"{root}?{query}"
        if key not in systems:
            systems[key] = _open(f"{root}?{query}" if query else root)[0]
        with systems[key].open_input_file(path) as file:
            return file.read()

    return read


def _refuse_unspeakable(names: Iterable[str]) -> None:
    """A name that is no UTF-8 can stand in no table of answers."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise UserError(
                f"the name {name.encode('utf-8', 'surrogateescape')!r} is no UTF-8",
                "names in UTF-8",
                "rename it (convmv does many)",
            ) from None


def _in_folder(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise UserError(
            f"FROM={folder} is not there"
            if not folder.exists()
            else f"FROM={folder} is no folder of images and no table",
            "a folder of images, a table (.csv or .parquet) with a column path, or a bucket (s3://…)",
            "check the name",
        )
    base = folder.absolute()
    return [str(path) for path in base.rglob("*") if path.suffix.lower() in EXTENSIONS and not path.is_dir()]


def _in_table(table: Path) -> list[str]:
    try:
        rows = pd.read_parquet(table) if table.suffix.lower() == ".parquet" else pd.read_csv(table, dtype=str)
    except FileNotFoundError:
        raise UserError(f"FROM={table} is not there", "a table with a column path", "check the name") from None
    except (ValueError, OSError) as error:  # pandas' parser errors and pyarrow's are ValueErrors
        raise UserError(f"FROM={table} can't be read: {error}", "a table (.csv or .parquet)", "mend it") from None
    if COLUMN not in rows:
        named = ", ".join(map(str, rows.columns)) or "none"
        raise UserError(
            f"FROM={table} has the columns {named}", f"a column {COLUMN}", "rename the column of the images"
        )
    if empty := int(rows[COLUMN].isna().sum()):
        raise UserError(f"FROM={table}: {empty} rows have no {COLUMN}", "a path in every row", "fill or remove them")
    base = table.absolute().parent
    return [name if "://" in name else str(base / name) for name in rows[COLUMN].astype(str)]


def _in_bucket(uri: str) -> list[str]:
    from pyarrow.fs import FileSelector, FileType

    address, _, query = uri.partition("?")
    system, path = _open(uri)
    root, _ = _split(address)
    try:
        found = system.get_file_info(FileSelector(path, recursive=True))
    except FileNotFoundError:
        raise UserError(f"FROM={address} is not there", "a bucket, or a folder in one", "check the name") from None
    names = [info.path for info in found if info.type == FileType.File and info.path.lower().endswith(EXTENSIONS)]
    scheme = root.partition("://")[0]
    return [f"{scheme}://{name}" + (f"?{query}" if query else "") for name in names]


def _refuse_keys(uri: str) -> None:
    """They would be written beside every answer."""
    if "@" in uri.partition("?")[0] or any(
        word in uri.partition("?")[2].lower() for word in ("key", "secret", "token")
    ):
        raise UserError(
            f"FROM={uri.partition('://')[0]}://… carries credentials",
            "an address without them",
            "put them where S3's tools look: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws, or the machine's role",
        )


def _split(address: str) -> tuple[str, str]:
    """`s3://bucket/a/b.jpg` -> (`s3://bucket`, `bucket/a/b.jpg`), as pyarrow names what lies in a bucket."""
    scheme, _, path = address.partition("://")
    if scheme == "file":
        return "file:///", path
    return f"{scheme}://{path.partition('/')[0]}", path


def _open(uri: str):
    """(file system, path in it). Raises `UserError` for a scheme that pyarrow has no file system for."""
    from pyarrow.fs import FileSystem
    from pyarrow.lib import ArrowInvalid, ArrowNotImplementedError

    scheme = uri.partition("://")[0]
    if scheme not in SCHEMES:
        raise UserError(f"FROM={scheme}://…", f"a bucket by {', '.join(SCHEMES)}", "copy the images to a folder first")
    try:
        return FileSystem.from_uri(uri)
    except (ArrowInvalid, ArrowNotImplementedError, OSError) as error:
        raise UserError(
            f"FROM={uri.partition('?')[0]} can't be opened: {str(error).splitlines()[0]}",
            "a bucket that this machine's credentials reach (environment, ~/.aws, the machine's role)",
            "check the name and the credentials",
        ) from None
