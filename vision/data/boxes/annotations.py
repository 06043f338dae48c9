"""`annotations.json` of a dataset folder with boxes: one COCO file that says what is on each of its images.

What COCO has no word for stands beside: `info.labels` (what a model of this data answers with, in order), and of an
image `label` (what splits are stratified by), `fault` (why it can't be used), and `boxes_known: false` where somebody
said what it shows but not where.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vision.data.boxes.geometry import NORMAL, Box, from_coco, to_coco

ANNOTATIONS = "annotations.json"


@dataclass(frozen=True)
class ImageBoxes:
    """path: posix, relative to the dataset folder. size_px: (width, height), upright; None where nobody could tell.

    boxes: None where the image's defects are not known. fault: why the annotations and the file don't match.
    """

    path: str
    label: str
    boxes: tuple[Box, ...] | None
    size_px: tuple[int, int] | None = None
    fault: str | None = None


def write_annotations(images: Iterable[ImageBoxes], labels: Sequence[str], categories: Sequence[str], to: Path) -> None:
    """labels: what a model answers with; categories: of the boxes. Equal data, equal bytes."""
    number = {name: no for no, name in enumerate(categories, 1)}
    entries, boxes = [], []
    for no, image in enumerate(sorted(images, key=lambda image: image.path), 1):
        entries.append(_entry(no, image))
        for box in image.boxes or ():
            bbox = to_coco(box)
            area = bbox[2] * bbox[3]
            known = {"id": len(boxes) + 1, "image_id": no, "category_id": number[box.label]}
            boxes.append(known | {"bbox": bbox, "area": area, "iscrowd": 0})
    whole = {
        "info": {"labels": list(labels)},
        "images": entries,
        "annotations": boxes,
        "categories": [{"id": no, "name": name} for name, no in number.items()],
    }
    to.write_text(_lines(whole), encoding="utf-8")


def read_annotations(root: Path) -> list[ImageBoxes] | None:
    """Of a dataset folder that `write_annotations` wrote to, by path; None for data without boxes."""
    whole = _read(root)
    if whole is None:
        return None
    names = {category["id"]: category["name"] for category in whole["categories"]}
    boxes = defaultdict(list)
    for one in whole["annotations"]:
        boxes[one["image_id"]].append(from_coco(names[one["category_id"]], one["bbox"]))
    return [
        ImageBoxes(
            path=entry["file_name"],
            label=entry["label"],
            boxes=tuple(boxes[entry["id"]]) if entry.get("boxes_known", True) else None,
            size_px=(entry["width"], entry["height"]) if "width" in entry else None,
            fault=entry.get("fault"),
        )
        for entry in whole["images"]
    ]


def annotated_labels(root: Path) -> tuple[str, ...] | None:
    """What a model of the dataset folder `root` answers with; None for data without boxes."""
    whole = _read(root)
    return None if whole is None else tuple(whole["info"]["labels"])


def rarest_labels(images: Sequence[Iterable[Box]]) -> list[str]:
    """Of each image's boxes the label that the fewest images have (ties by name), `normal` for an image without boxes."""
    kinds = [{box.label for box in boxes} for boxes in images]
    counts = Counter(label for labels in kinds for label in labels)
    return [min(labels, key=lambda label: (counts[label], label)) if labels else NORMAL for labels in kinds]


def _lines(whole: dict[str, Any]) -> str:
    """JSON with a line for each entry: readable, and half as long as one with a line for each number."""
    return "{" + ",\n".join(f'"{name}": {_value(value)}' for name, value in whole.items()) + "}\n"


def _value(value: Any) -> str:
    if isinstance(value, list):
        return "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _entry(no: int, image: ImageBoxes) -> dict[str, Any]:
    entry = {"id": no, "file_name": image.path, "label": image.label}
    if image.size_px is not None:
        entry |= {"width": image.size_px[0], "height": image.size_px[1]}
    if image.fault is not None:
        entry["fault"] = image.fault
    if image.boxes is None:
        entry["boxes_known"] = False
    return entry


def _read(root: Path) -> dict[str, Any] | None:
    try:
        return json.loads((root / ANNOTATIONS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
