"""YOLO annotations of others: one text file an image, `class centre-x centre-y width height` a line, as shares of it.

A line of a class and three points or more is a polygon (YOLO's segmentation form): its extent is taken.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vision.data.boxes.geometry import from_yolo
from vision.data.boxes.images import size_of, unlisted_images
from vision.data.boxes.sets import BoxSet, SourceImage, check_categories
from vision.data.config import YoloLayout
from vision.data.folders import listed
from vision.errors import UserError

NAME_FILES = ("classes.txt", "obj.names", "labels/classes.txt")
NOT_LABELS = {"classes", "readme", "train", "val", "test", "notes", "requirements"}
LINE = "a class number and four shares of the image (centre x, centre y, width, height), or the points of a polygon"


def read_yolo_folder(root: Path, layout: YoloLayout) -> BoxSet:
    """Every image below `root`. Raises `UserError` for lines that can't be understood."""
    names = layout.names or _names(root)
    check_categories(names, str(root))
    images, used = [], set()
    for file in unlisted_images(root, set(), set()):
        text = _label_file(file, root)
        if text.is_file():
            used.add(text)
        elif layout.unlisted == "leave_out":
            continue
        images.append(_image(file, text, root, names, layout))
    images += _orphans(root, used)
    return BoxSet(str(root), tuple(names), tuple(images))


def _names(root: Path) -> tuple[str, ...]:
    import yaml

    for file in sorted(root.glob("*.y*ml")):
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"{file} can't be read: {error}", "YAML with `names`", "mend it") from None
        names = content.get("names") if isinstance(content, dict) else None
        if names:
            return _listed_names(names, file)
    for name in NAME_FILES:
        if (root / name).is_file():
            # A blank line between two would move the numbers of all that follow: it is no name, and refused as one.
            return tuple(line.strip() for line in _text(root / name, "a line a class").rstrip().splitlines())
    raise UserError(
        f"{root} does not say what its classes are called",
        "`names` in data.yaml, or a line a class in classes.txt",
        "add one of them, or give data.source.names",
    )


def _listed_names(names: Any, file: Path) -> tuple[str, ...]:
    if isinstance(names, dict):
        if set(names) != set(range(len(names))):
            raise UserError(f"{file}: names has the numbers {listed([str(n) for n in names])}", "0, 1, 2, …", "mend it")
        names = [names[number] for number in sorted(names)]
    if not isinstance(names, list):
        raise UserError(f"{file}: names is {names!r}", "a list of names, or number: name", "mend it")
    return tuple(str(name) for name in names)


def _text(file: Path, allowed: str) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is no text: {error}", allowed, "export it again") from None


def _label_file(image: Path, root: Path) -> Path:
    """`labels` for the last folder below `root` named `images`, as YOLO's own tools do; else beside the image."""
    parts, beside = image.relative_to(root).parts, image.with_suffix(".txt")
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == "images":
            label = root.joinpath(*parts[:place], "labels", *parts[place + 1 :]).with_suffix(".txt")
            return beside if beside.is_file() and not label.is_file() else label
    return beside


def _image(file: Path, text: Path, root: Path, names: tuple[str, ...], layout: YoloLayout) -> SourceImage:
    key = file.relative_to(root).as_posix()
    target = _target(key)
    size = size_of(file)
    size_px = size.upright if size else None
    if not text.is_file():
        if layout.unlisted == "normal":
            return SourceImage(key, target, file, (), size_px)
        return SourceImage(key, target, file, None, size_px, fault=f"not annotated: no {text.name}")
    shares = list(_lines(text, names))
    if size_px is None:
        return SourceImage(
            key, target, file, None, None, fault="unreadable: shares of an image without a size are no box"
        )
    return SourceImage(key, target, file, tuple(from_yolo(label, four, *size_px) for label, four in shares), size_px)


def _lines(text: Path, names: tuple[str, ...]) -> Iterator[tuple[str, list[float]]]:
    for number, line in enumerate(_text(text, LINE).splitlines(), 1):
        if line.strip():
            yield _line(line.split(), f"{text} line {number}", names)


def _line(words: list[str], where: str, names: tuple[str, ...]) -> tuple[str, list[float]]:
    if len(words) != 5 and (len(words) < 7 or len(words) % 2 == 0):
        raise UserError(f"{where} has {len(words)} columns", LINE, "mend the line, or export it again")
    try:
        kind, values = int(words[0]), [float(word) for word in words[1:]]
    except ValueError:
        raise UserError(f"{where} is {' '.join(words)[:60]!r}", LINE, "mend the line, or export it again") from None
    if not all(math.isfinite(value) for value in values):
        raise UserError(f"{where} has a number that is not finite", LINE, "mend the line, or export it again")
    if not 0 <= kind < len(names):
        raise UserError(
            f"{where} is of class {kind}", f"0 to {len(names) - 1}: {listed(names)}", "correct it, or name the class"
        )
    return names[kind], values if len(values) == 4 else _extent(values)


def _extent(points: list[float]) -> list[float]:
    """(centre x, centre y, width, height) of x, y, x, y, …"""
    (left, right), (top, bottom) = ((min(points[axis::2]), max(points[axis::2])) for axis in (0, 1))
    return [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]


def _orphans(root: Path, used: set[Path]) -> Iterator[SourceImage]:
    """Label files without an image. In a folder `labels` every text is one; elsewhere it may be anything."""
    for text in sorted(root.rglob("labels/**/*.txt")):
        if text in used or text.stem.lower() in NOT_LABELS or text.name.startswith("."):
            continue
        key = text.relative_to(root).as_posix()
        yield SourceImage(key, _target(key), None, None, fault="no file: annotated, but not there")


def _target(key: str) -> str:
    """images/<split or all>/<file>: the folders `images` and `labels` go, others become part of the name."""
    *folders, name = [part for part in key.split("/") if part not in ("images", "labels")]
    return f"images/{folders[0] if folders else 'all'}/{'_'.join([*folders[1:], name])}"
