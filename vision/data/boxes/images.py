"""Image files that annotations speak of: where they lie, how large they are, which way up, and which nobody named."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vision.data.boxes.geometry import Box
from vision.data.folders import EXTENSIONS, refuse_stray_link, refuse_unspeakable
from vision.errors import UserError

LYING = (5, 6, 7, 8)
"""EXIF orientations in which width and height change places."""


@dataclass(frozen=True)
class Size:
    """(width, height) in pixels, as stored and as seen upright. orientation: EXIF's, 1..8."""

    stored: tuple[int, int]
    orientation: int

    @property
    def upright(self) -> tuple[int, int]:
        return self.stored[::-1] if self.orientation in LYING else self.stored


def size_of(file: Path) -> Size | None:
    """From the header alone; None for a file that is no image: the manifest will say so."""
    from PIL import Image

    from vision.preprocess import exif_orientation

    try:
        with Image.open(file) as image:
            return Size(image.size, exif_orientation(image))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def turned(box: Box, size: Size) -> Box:
    """A box in pixels of the image as stored, in pixels of it upright (EXIF orientations 5 to 8)."""
    wide, high = size.stored
    mirror_x, mirror_y = size.orientation in (6, 7), size.orientation in (7, 8)
    x1, x2 = (high - box.y2, high - box.y1) if mirror_x else (box.y1, box.y2)
    y1, y2 = (wide - box.x2, wide - box.x1) if mirror_y else (box.x1, box.x2)
    return Box(box.label, x1, y1, x2, y2)


def upright_boxes(boxes: Iterable[Box], annotated: tuple[int, int], size: Size) -> tuple[Box, ...] | None:
    """In pixels of the upright image. annotated: (width, height) that they were drawn on; None where it is neither of the image's."""
    if annotated == size.upright:
        return tuple(boxes)
    return tuple(turned(box, size) for box in boxes) if annotated == size.stored else None


def place(folder: Path, name: str, said_by: Path) -> Path:
    """The file that `name` means in `folder`. Raises `UserError` for one that leads out of it, or is no name."""
    if not PurePosixPath(name).name or "\0" in name:
        raise UserError(f"{said_by} names the file {name!r}", "the name of a file", "correct it")
    file = Path(os.path.normpath(folder / name.replace("\\", "/")))
    if not file.is_relative_to(Path(os.path.normpath(folder))) or not file.resolve().is_relative_to(folder.resolve()):
        raise UserError(
            f"{said_by} names the file {name!r}, which lies outside {folder}",
            "files in the folder of the images",
            "correct the name, or copy the file there",
        )
    return file


def unlisted_images(folder: Path, known: set[Path], others: set[Path]) -> Iterator[Path]:
    """Visible images in `folder` and below that are not `known`, by path; what lies in `others` is not looked at.

    Raises `UserError` for a link that leads out of the folder, and for a name that no table can hold.
    """
    base = folder.resolve()
    for here, folders, names in os.walk(folder):
        inside = Path(here)
        folders[:] = sorted(f for f in folders if not f.startswith(".") and inside / f not in others)
        for name in sorted(names):
            file = inside / name
            if file.suffix.lower() in EXTENSIONS and not name.startswith(".") and file not in known:
                refuse_unspeakable(file)
                refuse_stray_link(file, base)
                yield file
