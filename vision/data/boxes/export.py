"""A data set with boxes as others read it: COCO in VISION's layout, or YOLO. What goes out comes back the same.

coco: `<split>/<image>` and `<split>/_annotations.coco.json`. yolo: `images/<split>/<image>`, `labels/<split>/<image>.txt`,
data.yaml. Sizes and boxes are of the upright image.
"""

import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from vision.data.boxes.annotations import annotated_labels, read_annotations
from vision.data.boxes.coco import SPLITS
from vision.data.boxes.geometry import Box, to_coco, to_yolo
from vision.data.boxes.images import size_of
from vision.data.boxes.sets import BoxSet, SourceImage, check_categories
from vision.errors import UserError
from vision.package import sha256_file

FORMATS = ("coco", "yolo")
REST = "all"
DROPPED = (*SPLITS, REST, "images", "labels")
SHARES = ".10g"
"""A ten-thousandth of a pixel of the largest image is left of a share that is written so."""


@dataclass(frozen=True)
class Exported:
    file: Path
    name: str
    split: str
    boxes: tuple[Box, ...]
    size_px: tuple[int, int]


@dataclass(frozen=True)
class Export:
    """left_out: images without known boxes or without a file, by reason. notes: what else, a sentence each."""

    images: tuple[Exported, ...]
    categories: tuple[str, ...]
    left_out: Mapping[str, int]
    notes: tuple[str, ...] = ()


def export_of_set(found: BoxSet) -> Export:
    """Of a folder that was read; an image keeps the split that its folder is named after."""
    export = _export(found.images, found.categories, lambda image: _named_split(image.key))
    return replace(export, notes=found.notes)


def export_of_dataset(root: Path, split_of: Mapping[str, str]) -> Export:
    """Of a dataset folder. split_of: sha256 -> train, val or test; images in none go to `all`. Raises `UserError`."""
    described = read_annotations(root)
    if not described:
        raise UserError(f"{root} has no boxes", "the data set of a system with boxes", "name another system")
    images = [
        SourceImage(one.path.removeprefix("images/"), one.path, root / one.path, one.boxes, one.size_px, one.fault)
        for one in described
    ]
    there = {box.label for image in images for box in image.boxes or ()}
    first = [label for label in annotated_labels(root) or () if label in there]
    return _export(
        images, [*first, *sorted(there - set(first))], lambda image: split_of.get(sha256_file(image.file), REST)
    )


def write_export(export: Export, form: str, to: Path) -> None:
    """Whole or not at all. Raises `UserError` for a folder that has something in it, and for data without an image."""
    to = to.resolve()
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise UserError(f"{to} is not empty", "a new or an empty folder", "name another one, or empty it")
    if not export.images:
        raise UserError("no image with known boxes", "at least one", "see what was left out, and why")
    check_categories(export.categories, "the data")
    partial = to.with_name(f".{to.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _WRITERS[form](export, partial)
        if to.exists():
            to.rmdir()
        partial.replace(to)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _named_split(key: str) -> str:
    return next((part for part in PurePosixPath(key).parent.parts if part in SPLITS), REST)


def _export(images: Sequence[SourceImage], categories: Sequence[str], split_of: Callable[[SourceImage], str]) -> Export:
    taken, left_out, names = [], Counter(), {}
    for image in images:
        size = None if image.file is None or image.fault else size_of(image.file)
        if size is None or image.boxes is None:
            why = image.fault or ("no box known" if image.boxes is None else "unreadable")
            left_out[why.partition(":")[0]] += 1
            continue
        split = split_of(image)
        name = "_".join(part for part in PurePosixPath(image.key).parts if part not in DROPPED)
        if (other := names.setdefault((split, name), image.key)) != image.key:
            raise UserError(
                f"{other} and {image.key} would both become {split}/{name}", "one file a name", "rename one"
            )
        taken.append(Exported(image.file, name, split, image.boxes, size.upright))
    return Export(tuple(taken), tuple(categories), dict(left_out))


def _write_coco(export: Export, to: Path) -> None:
    number = {name: no for no, name in enumerate(export.categories, 1)}
    categories = [{"id": no, "name": name, "supercategory": ""} for name, no in number.items()]
    for split, images in _by_split(export).items():
        (to / split).mkdir()
        entries, boxes = [], []
        for no, image in enumerate(images, 1):
            shutil.copyfile(image.file, to / split / image.name)
            entries.append({"id": no, "file_name": image.name, "width": image.size_px[0], "height": image.size_px[1]})
            for box in image.boxes:
                bbox = to_coco(box)
                known = {"id": len(boxes) + 1, "image_id": no, "category_id": number[box.label], "bbox": bbox}
                boxes.append(known | {"area": bbox[2] * bbox[3], "iscrowd": 0, "segmentation": []})
        whole = {"images": entries, "annotations": boxes, "categories": categories}
        text = json.dumps(whole, ensure_ascii=False, indent=1)
        (to / split / "_annotations.coco.json").write_text(text, encoding="utf-8")


def _refuse_shared_labels(images: Sequence[Exported]) -> None:
    names: dict[str, str] = {}
    for image in images:
        if (other := names.setdefault(Path(image.name).stem, image.name)) != image.name:
            raise UserError(
                f"{other} and {image.name} would share one label file in YOLO",
                "names that differ before the ending",
                "rename one, or write COCO",
            )


def _write_yolo(export: Export, to: Path) -> None:
    import yaml

    number = {name: no for no, name in enumerate(export.categories)}
    for split, images in _by_split(export).items():
        _refuse_shared_labels(images)
        for folder in ("images", "labels"):
            (to / folder / split).mkdir(parents=True)
        for image in images:
            shutil.copyfile(image.file, to / "images" / split / image.name)
            shares = [(number[box.label], to_yolo(box, *image.size_px)) for box in image.boxes]
            lines = [" ".join([str(no), *(format(share, SHARES) for share in four)]) for no, four in shares]
            text = (to / "labels" / split / image.name).with_suffix(".txt")
            text.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    # Without `path` YOLO's tools take the folder of data.yaml; a relative one they look up elsewhere.
    splits = {split: f"images/{split}" for split in _by_split(export)}
    if "valid" in splits:
        splits.setdefault("val", splits["valid"])
    content = {**splits, "names": dict(enumerate(export.categories))}
    (to / "data.yaml").write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _by_split(export: Export) -> dict[str, list[Exported]]:
    found = defaultdict(list)
    for image in sorted(export.images, key=lambda image: (image.split, image.name)):
        found[image.split].append(image)
    return dict(found)


_WRITERS = {"coco": _write_coco, "yolo": _write_yolo}
