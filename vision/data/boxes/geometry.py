"""Boxes, in one form everywhere: pixels of the upright image, (x1, y1) the top left corner, (x2, y2) just past the
bottom right one. x runs right, y down, and a box of the whole image is (0, 0, width, height).

Formats of others: COCO [x, y, width, height] in pixels; YOLO (centre x, centre y, width, height) as shares of the image.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

NORMAL = "normal"
"""What an image without a defect is called."""
DEFECT = "defect"


class Box(NamedTuple):
    """Sides in pixels. The data contract holds x1 < x2, y1 < y2 and that it lies inside the image; this does not."""

    label: str
    x1: float
    y1: float
    x2: float
    y2: float

    @property
    def width_px(self) -> float:
        return self.x2 - self.x1

    @property
    def height_px(self) -> float:
        return self.y2 - self.y1

    @property
    def area_px(self) -> float:
        """0 for a box that is turned inside out."""
        return max(0.0, self.width_px) * max(0.0, self.height_px)


def boxes_of(value: Any) -> list[Box]:
    """Boxes of one row of the manifest's column `boxes` (a sequence of mappings, or None, or nan): as they were given."""
    if value is None or isinstance(value, float):
        return []
    return [Box(str(box["label"]), *(float(box[side]) for side in ("x1", "y1", "x2", "y2"))) for box in value]


def has_boxes(value: Any) -> bool:
    """Is it known where this image's defects are? Also true of an image without any."""
    return value is not None and not isinstance(value, float)


def usable(boxes: Iterable[Box], width_px: float, height_px: float) -> list[Box]:
    """Cut to the image; a box of which nothing is left is not among them."""
    cut = [
        box._replace(
            x1=min(max(box.x1, 0.0), width_px),
            y1=min(max(box.y1, 0.0), height_px),
            x2=min(max(box.x2, 0.0), width_px),
            y2=min(max(box.y2, 0.0), height_px),
        )
        for box in boxes
    ]
    return [box for box in cut if box.area_px > 0]


def scaled(boxes: Sequence[Box], width_px: float, height_px: float) -> np.ndarray:
    """(x1, y1, x2, y2) as shares of the image's sides, float32 [n, 4]; inside 0..1 for `usable` boxes."""
    sides = np.array([box[1:] for box in boxes], np.float64).reshape(-1, 4)
    return (sides / [width_px, height_px, width_px, height_px]).astype(np.float32)


def overlaps(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes float [n, 4] and [m, 4] (x1, y1, x2, y2): float64 [n, m]; 0 with an empty box."""
    one, other = np.asarray(one, np.float64).reshape(-1, 4), np.asarray(other, np.float64).reshape(-1, 4)
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    area_one, area_other = (np.clip(b[:, 2:] - b[:, :2], 0, None).prod(axis=1) for b in (one, other))
    union = area_one[:, None] + area_other[None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def from_coco(label: str, bbox: Sequence[float]) -> Box:
    x, y, width, height = map(float, bbox)
    return Box(label, x, y, x + width, y + height)


def to_coco(box: Box) -> list[float]:
    return [box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1]


def from_yolo(label: str, shares: Sequence[float], width_px: float, height_px: float) -> Box:
    x, y, width, height = map(float, shares)
    left, right = (x - width / 2) * width_px, (x + width / 2) * width_px
    top, bottom = (y - height / 2) * height_px, (y + height / 2) * height_px
    return Box(label, left, top, right, bottom)


def to_yolo(box: Box, width_px: float, height_px: float) -> list[float]:
    x, y = (box.x1 + box.x2) / 2 / width_px, (box.y1 + box.y2) / 2 / height_px
    return [x, y, (box.x2 - box.x1) / width_px, (box.y2 - box.y1) / height_px]
