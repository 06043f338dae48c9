"""Small folders with annotations of other tools, for tests: one COCO file with its images, one YOLO tree."""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CATEGORIES = ({"id": 3, "name": "pit"}, {"id": 7, "name": "scratch"})


def picture(file: Path, seed: int = 0, size_px: tuple[int, int] = (60, 40), orientation: int = 1) -> Path:
    """A smooth picture of its own; orientation: EXIF's."""
    file.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(small).resize(size_px, Image.Resampling.BICUBIC).save(file, exif=exif.tobytes())
    return file


def coco_content(names: tuple[str, ...] = ("a.jpg", "b.jpg")) -> dict[str, Any]:
    """Two boxes on the first image, none on the others."""
    images = [{"id": no, "file_name": name, "width": 60, "height": 40} for no, name in enumerate(names, 1)]
    boxes = [
        {"id": 1, "image_id": 1, "category_id": 7, "bbox": [2, 3, 20, 10], "area": 200, "iscrowd": 0},
        {"id": 2, "image_id": 1, "category_id": 3, "bbox": [30.5, 10, 12, 12.5]},
    ]
    return {"images": images, "annotations": boxes, "categories": [dict(one) for one in CATEGORIES]}


def write_coco(folder: Path, content: dict[str, Any] | None = None, name: str = "_annotations.coco.json") -> Path:
    """The file, and a picture for each image that it names and that isn't there."""
    content = coco_content() if content is None else content
    folder.mkdir(parents=True, exist_ok=True)
    for entry in content["images"]:
        if not (folder / entry["file_name"]).exists():
            seed = zlib.crc32(entry["file_name"].encode())
            picture(folder / entry["file_name"], seed, (entry.get("width", 60), entry.get("height", 40)))
    (folder / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return folder


def write_yolo(root: Path, lines: dict[str, str], names: str = "names: [pit, scratch]") -> Path:
    """lines: image path below images/ -> what its label file says."""
    for number, (name, text) in enumerate(lines.items()):
        picture(root / "images" / name, number)
        label = (root / "labels" / name).with_suffix(".txt")
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(text, encoding="utf-8")
    (root / "data.yaml").write_text(names, encoding="utf-8")
    return root
