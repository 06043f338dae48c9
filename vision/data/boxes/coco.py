"""COCO annotations of others: any folder, and VISION's `<product>/<train|val>/_annotations.coco.json`.

What can't be understood (broken JSON, an id that is nowhere) is a `UserError`; what can, however wrong (a box beyond the
image, an image that is not there), is kept for the data contract to judge.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vision.data.boxes.coco_file import CocoFile, CocoImage, Id, read_coco
from vision.data.boxes.coco_masks import extent
from vision.data.boxes.geometry import Box, from_coco
from vision.data.boxes.images import place, size_of, unlisted_images, upright_boxes
from vision.data.boxes.sets import BoxSet, SourceImage
from vision.data.config import CocoLayout
from vision.data.folders import listed
from vision.errors import UserError

SPLITS = ("train", "val", "valid", "test")


@dataclass(frozen=True)
class Part:
    """One annotation file. product: its folder's, None without products; split: what its images' names begin with."""

    file: Path
    images: Path
    product: str | None
    split: str


def read_coco_folder(root: Path, layout: CocoLayout) -> BoxSet:
    """Every image of the annotation files in `root`. Raises `UserError` for files that can't be understood."""
    parts = _parts(root, layout)
    several = len({part.product for part in parts}) > 1
    names, images, crowds = [], [], 0
    for part in parts:
        content = read_coco(part.file)
        prefix = f"{part.product}: " if several else ""
        names += [prefix + category.name for category in content.categories]
        found, crowded = _images(content, part, root, prefix)
        images += found
        crowds += crowded
    known = {image.file for image in images}
    for part in parts:
        images += _unlisted(part, root, known, layout, {other.images for other in parts if other != part})
    notes = _notes(root, parts, crowds)
    return BoxSet(str(root), tuple(dict.fromkeys(names)), tuple(images), notes)


def _parts(root: Path, layout: CocoLayout) -> list[Part]:
    names = (layout.annotations,) if isinstance(layout.annotations, str) else layout.annotations
    files = []
    for name in names:
        here = (
            [root / name]
            if (root / name).is_file()
            else sorted(root.glob(f"*/{name}")) + sorted(root.glob(f"*/*/{name}"))
        )
        if not here:
            raise UserError(
                f"{root} has no file {name}",
                "one there, or two folders down at most, as in <product>/train/_annotations.coco.json",
                "correct data.source.path or data.source.annotations",
            )
        files += here
    parts = [_part(file, root, layout) for file in dict.fromkeys(files)]
    if layout.products is None:
        return parts
    there = sorted({part.product for part in parts if part.product})
    if missing := [name for name in layout.products if name not in there]:
        raise UserError(
            f"data.source.products names {', '.join(missing)}, which {root} does not have",
            f"products found there: {listed(there) or 'none'}",
            "correct data.source.products",
        )
    return [part for part in parts if part.product in layout.products]


def _part(file: Path, root: Path, layout: CocoLayout) -> Part:
    folders = file.parent.relative_to(root).parts
    images = file.parent if layout.images is None else root / layout.images
    if layout.images is not None:
        return Part(file, images, None, "")
    if folders and folders[0] not in SPLITS:
        return Part(file, images, folders[0], "_".join(folders[1:]))
    return Part(file, images, None, "_".join(folders))


def _images(content: CocoFile, part: Part, root: Path, prefix: str) -> tuple[list[SourceImage], int]:
    """Of one annotation file, and how many regions of a crowd it has, which are no boxes."""
    boxes, crowds = boxes_by_image(content, part.file, prefix)
    found = [_image(image, tuple(boxes[image.id]), part, root, crowds[image.id]) for image in content.images]
    return found, crowds.total()


def boxes_by_image(content: CocoFile, file: Path, prefix: str = "") -> tuple[dict[Id, list[Box]], Counter[Id]]:
    """By the image's id: its boxes, and how many regions of a crowd it has. prefix: of the labels. Raises `UserError` for an
    annotation without a place."""
    names = {category.id: prefix + category.name for category in content.categories}
    boxes, crowds = defaultdict(list), Counter()
    for place_no, one in enumerate(content.annotations):
        if one.iscrowd:
            crowds[one.image_id] += 1
            continue
        bbox = one.bbox or extent(one.segmentation, f"{file}: annotations.{place_no}")
        boxes[one.image_id].append(from_coco(names[one.category_id], bbox))
    return boxes, crowds


def _image(image: CocoImage, boxes: tuple[Box, ...], part: Part, root: Path, crowds: int) -> SourceImage:
    file = place(part.images, image.file_name, part.file)
    key = _key(file, root)
    target = _target(part, image.file_name)
    annotated = (image.width, image.height) if image.width and image.height else None
    if not file.is_file():
        return SourceImage(key, target, None, boxes, annotated, fault="no file: annotated, but not there")
    if crowds and not boxes:
        fault = "crowd only: a region of many objects, no box"
        return SourceImage(key, target, file, None, annotated, fault=fault)
    size = size_of(file)
    if size is None or annotated is None:
        return SourceImage(key, target, file, boxes, size.upright if size else annotated)
    fault, turned = None, upright_boxes(boxes, annotated, size)
    if turned is None:
        fault = "other size: annotated at {} x {}, the file has {} x {}".format(*annotated, *size.upright)
    return SourceImage(key, target, file, boxes if turned is None else turned, size.upright, fault=fault)


def _unlisted(part: Part, root: Path, known: set, layout: CocoLayout, others: set[Path]) -> Iterator[SourceImage]:
    """Images beside the annotations that these don't name, once each."""
    if layout.unlisted == "leave_out":
        return
    for file in unlisted_images(part.images, known, others):
        known.add(file)
        name = file.relative_to(part.images).as_posix()
        target, key = _target(part, name), _key(file, root)
        if layout.unlisted == "normal":
            size = size_of(file)
            yield SourceImage(key, target, file, (), size.upright if size else None)
        else:
            fault = f"not annotated: {part.file.name} does not name it"
            yield SourceImage(key, target, file, None, fault=fault)


def _target(part: Part, name: str) -> str:
    """images/<product>/<split>_<file>: folders of a name become part of it."""
    flat = "_".join(PurePosixPath(name.replace("\\", "/")).parts)
    split = f"{part.split}_" if part.split else ""
    return f"images/{part.product or 'all'}/{split}{flat}"


def _key(file: Path, root: Path) -> str:
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else file.as_posix()


def _notes(root: Path, parts: list[Part], crowds: int) -> tuple[str, ...]:
    notes = [f"{crowds:,} regions of a crowd left out: they hold many objects and are no box"] if crowds else []
    for product in sorted({part.product for part in parts if part.product}):
        taken = {part.images for part in parts}
        bare = [f for f in sorted((root / product).iterdir()) if f.is_dir() and f not in taken]
        counts = {folder: sum(1 for _ in unlisted_images(folder, set(), set())) for folder in bare}
        notes += [
            f"{folder.relative_to(root).as_posix()} left out: no {parts[0].file.name} there ({count:,} images)"
            for folder, count in counts.items()
            if count
        ]
    return tuple(notes)
