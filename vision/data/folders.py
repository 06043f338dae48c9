"""A folder of classes, `<folder>/<class>/<image>`: what lies in it, which classes are taken, and copying it safely."""

import filecmp
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from vision.data.config import DataConfig
from vision.errors import UserError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
NAMED = 20
"""Classes that a message lists at most."""

Classes = dict[str, list[Path]]
"""Label -> its image files, both sorted by name."""


def scan_classes(folder: Path) -> Classes:
    """The classes that lie in `folder`: sub-folders with at least one image directly in them. Hidden ones don't count.

    Raises `UserError` for a link that leads out of the folder (its target is no part of what is versioned) or nowhere, and
    for a name that is no UTF-8.
    """
    base = folder.resolve()
    found = {}
    for entry in _visible(folder):
        refuse_stray_link(entry, base)
        if entry.is_dir():
            refuse_unspeakable(entry)
            images = [p for p in _visible(entry) if p.suffix.lower() in EXTENSIONS]
            for image in images:
                refuse_unspeakable(image)
                refuse_stray_link(image, base)
            images = [p for p in images if p.is_file()]
            if images:
                found[entry.name] = images
    return found


def left_out(classes: Classes) -> list[str]:
    """What lies visibly beside the images of these classes and is none by its name: `<class>/<name>`."""
    folders = {file.parent for files in classes.values() for file in files}
    taken = {file for files in classes.values() for file in files}
    return [
        f"{path.parent.name}/{path.name}"
        for folder in sorted(folders)
        for path in _visible(folder)
        if path not in taken
    ]


def select_classes(found: Mapping[str, list[Path]], config: DataConfig, where: str) -> Classes:
    """Applies `classes` or `top_k`. Raises `UserError` for nothing, for one class only, for one that isn't there."""
    names = sorted(found)
    if not names:
        raise UserError(
            f"no image in a class folder of {where}",
            f"<class>/<image> with {' '.join(EXTENSIONS)}, two classes or more",
            "check the path in data.source, or VISIONOPS_DATA",
        )
    if missing := [name for name in config.classes or () if name not in found]:
        raise UserError(
            f"data.classes names {', '.join(missing)}, which {where} does not have",
            f"classes found there: {listed(names)}",
            "correct data.classes, or add images of the missing classes",
        )
    chosen = list(config.classes or names)
    if config.top_k is not None:
        if config.top_k > len(names):
            raise UserError(
                f"data.top_k is {config.top_k}, {where} has {len(names)} classes: {listed(names)}",
                f"2 to {len(names)}",
                "lower data.top_k",
            )
        chosen = sorted(names, key=lambda name: (-len(found[name]), name))[: config.top_k]
    if len(chosen) < 2:
        raise UserError(
            f"one class only, {chosen[0]} ({len(found[chosen[0]])} images), in {where}",
            "two classes or more",
            "add a folder of images for each further class",
        )
    return {name: found[name] for name in chosen}


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def find_folder(path: str, data_root: Path | None) -> Path:
    """An absolute path as it is; a relative one under VISIONOPS_DATA, then under the working directory."""
    places = [root / path for root in (data_root, Path.cwd()) if root is not None]
    for place in places:
        if place.is_dir():
            return place
    raise UserError(
        f"data.source.path {path!r}: no such folder ({', '.join(dict.fromkeys(map(str, places)))})",
        "the folder that holds the images",
        "correct the path, or set VISIONOPS_DATA to the folder that holds it",
    )


def sync_files(plan: Mapping[str, Path], out: Path, on_progress: Callable[[int, int], None] | None = None) -> None:
    """Makes `out` hold exactly `plan` (relative path -> file to copy): adds, replaces, removes.

    A file appears whole or not at all, so a killed call is mended by the next one.
    """
    out.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.copying")
    for done, (name, source) in enumerate(sorted(plan.items()), 1):
        target = out / name
        if target.is_symlink() or not target.is_file() or not filecmp.cmp(source, target, shallow=False):
            _make_way(target, out)
            shutil.copyfile(source, partial)
            partial.replace(target)
        if on_progress:
            on_progress(done, len(plan))
    partial.unlink(missing_ok=True)
    _remove_others(set(plan), out)


def _visible(folder: Path) -> Iterator[Path]:
    return iter(sorted((p for p in folder.iterdir() if not p.name.startswith(".")), key=lambda p: p.name))


def refuse_stray_link(path: Path, base: Path) -> None:
    if not path.is_symlink():
        return
    if not path.exists():
        raise UserError(
            f"{path} is a link to {path.readlink()}, which is not there",
            "files, or links within the folder",
            "remove the link, or put the file in its place",
        )
    if not path.resolve().is_relative_to(base):
        raise UserError(
            f"{path} is a link that leads out of the folder, to {path.readlink()}",
            "files, or links within the folder: what lies elsewhere is no part of the version",
            "copy the file into the folder, or remove the link",
        )


def refuse_unspeakable(path: Path) -> None:
    """A name that is no UTF-8 can stand in no table and no message."""
    try:
        path.name.encode()
    except UnicodeEncodeError:
        shown = path.name.encode("utf-8", "surrogateescape")
        raise UserError(
            f"the name {shown!r} in {str(path.parent)!a} is no UTF-8", "names in UTF-8", "rename it (convmv does many)"
        ) from None


def _make_way(target: Path, out: Path) -> None:
    """Room for a file at `target`: no folder in its place, no file in the place of its folder."""
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    for parent in reversed(target.relative_to(out).parents[:-1]):
        place = out / parent
        if place.is_symlink() or place.is_file():
            place.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)


def _remove_others(keep: set[str], out: Path) -> None:
    for folder, _, names in os.walk(out, topdown=False):
        here = Path(folder)
        for name in [*names, *(p.name for p in here.iterdir() if p.is_symlink())]:
            path = here / name
            if path.relative_to(out).as_posix() not in keep:
                path.unlink(missing_ok=True)
        if here != out and not any(here.iterdir()):
            here.rmdir()
