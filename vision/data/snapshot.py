"""Did a folder stay as it was while it was read? Files that others are still writing make a data set that nobody has."""

from collections.abc import Mapping
from pathlib import Path

from vision.data.folders import Classes
from vision.errors import UserError

Stamps = dict[Path, tuple[int, int, int] | None]
"""File -> size, time of its last change, time of its inode's last change (ns); None for one that is gone."""

NAMED = 3


def stamps(classes: Classes) -> Stamps:
    return {file: _stamp(file) for files in classes.values() for file in files}


def refuse_changes(before: Stamps, after: Stamps, where: str) -> None:
    """Raises `UserError` with what vanished, appeared and was rewritten in `where`. What never was there did not vanish."""
    before, there = ({file: stamp for file, stamp in one.items() if stamp is not None} for one in (before, after))
    changes = {
        "vanished": sorted(set(before) - set(there)),
        "appeared": sorted(set(there) - set(before)),
        "was rewritten": sorted(file for file in set(before) & set(there) if before[file] != there[file]),
    }
    if not any(changes.values()):
        return
    raise UserError(
        f"{where} changed while it was read: {_told(changes)}",
        "a folder that nobody writes to while a flow reads it",
        "wait until whatever writes there is done, then run it again",
    )


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _told(changes: Mapping[str, list[Path]]) -> str:
    parts = []
    for what, files in changes.items():
        if files:
            names = ", ".join(f"{file.parent.name}/{file.name}" for file in files[:NAMED])
            parts.append(f"{len(files)} {what} ({names}{' …' if len(files) > NAMED else ''})")
    return "; ".join(parts)
