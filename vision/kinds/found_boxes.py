"""What kinds have in common whose answers hold boxes: how such an answer is described, measured and compared. No torch.

An answer has `label`, `confidence`, `width_px`, `height_px` (of the image as sent, upright), `threshold` (the confidence that
a box needs, 0..1) and `boxes`: [{label, confidence, box: [x1, y1, x2, y2] in pixels of that image}], the surest first.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vision.data.boxes.geometry import NORMAL, boxes_of, overlaps

COLUMNS = ("boxes", "box_area", "box_aspect", "box_x", "box_y")
"""What drift is measured on beside label and confidence."""
OVERLAP = 0.5
"""Boxes that share this much of their union are of the same thing."""

Answer = Mapping[str, Any]


def boxes_schema(labels: Sequence[str]) -> dict[str, Any]:
    """JSON schema of `boxes`. labels: that a box may have."""
    found = {
        "label": {"type": "string", "enum": list(labels)},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        "box": {
            "type": "array",
            "items": {"type": "number", "minimum": 0},
            "minItems": 4,
            "maxItems": 4,
            "description": "[x1, y1, x2, y2] in pixels of the image as it was sent, upright by its EXIF orientation",
        },
    }
    item = {"type": "object", "properties": found, "required": list(found), "additionalProperties": False}
    return {"type": "array", "items": item, "description": "the surest first; `top_k` leaves none out"}


def box_columns(answer: Answer) -> dict[str, float | None]:
    """How many boxes; the mean of their share of the image, of width over height (geometric) and of their middle, 0..1."""
    found = corners(answer)
    if len(found) == 0:
        return dict.fromkeys(COLUMNS) | {"boxes": 0.0}
    shares = found / np.tile([answer["width_px"], answer["height_px"]], 2)
    sides, sides_px = shares[:, 2:] - shares[:, :2], np.maximum(found[:, 2:] - found[:, :2], 1e-6)
    middle = (shares[:, 2:] + shares[:, :2]).mean(axis=0) / 2
    return {
        "boxes": float(len(found)),
        "box_area": float(sides.prod(axis=1).mean()),
        "box_aspect": float(np.exp(np.log(sides_px[:, 0] / sides_px[:, 1]).mean())),
        "box_x": float(middle[0]),
        "box_y": float(middle[1]),
    }


def corners(answer: Answer) -> np.ndarray:
    """float64 [n, 4], pixels of the image."""
    return np.array([found["box"] for found in answer["boxes"]], np.float64).reshape(-1, 4)


def same_boxes(answer: Answer, other: Answer) -> bool:
    """Do both show the same things in the same places?"""
    one, two, pairs = answer["boxes"], other["boxes"], matched(answer, other)
    return len(pairs) == len(one) == len(two)


def matched(answer: Answer, other: Answer) -> list[tuple[int, int]]:
    """Numbers of boxes of one label that overlap by OVERLAP, each used once, the best overlap first."""
    shared = overlaps(corners(answer), corners(other))
    for row, one in enumerate(answer["boxes"]):
        for column, two in enumerate(other["boxes"]):
            if one["label"] != two["label"]:
                shared[row, column] = 0.0
    pairs = []
    while shared.size and shared.max() >= OVERLAP:
        row, column = (int(place) for place in np.unravel_index(shared.argmax(), shared.shape))
        pairs.append((row, column))
        shared[row, :] = shared[:, column] = 0.0
    return pairs


def compare_boxes(got: Answer, wanted: Answer, tolerance: float) -> tuple[float, tuple[str, ...]]:
    """See `Answering.compare`. Differences are of confidences, and of corners as shares of the image's sides.

    A box that one of them lacks is excused where its confidence is within the tolerance of the threshold.
    """
    pairs, sides = matched(got, wanted), np.tile([wanted["width_px"], wanted["height_px"]], 2)
    moved = [np.abs((corners(got)[row] - corners(wanted)[column]) / sides).max() for row, column in pairs]
    gaps = [abs(got["boxes"][row]["confidence"] - wanted["boxes"][column]["confidence"]) for row, column in pairs]
    gaps += [abs(got["confidence"] - wanted["confidence"])] * (got["label"] == wanted["label"])
    reasons = [
        f"{name} differ by {max(values):.3f}, allowed {tolerance}"
        for name, values in (("confidences", gaps), ("corners", moved))
        if max(values, default=0.0) > tolerance
    ]
    for side, mine, what in ((got, {row for row, _ in pairs}, "more"), (wanted, {c for _, c in pairs}, "less")):
        alone = [box for number, box in enumerate(side["boxes"]) if number not in mine]
        sure = [box for box in alone if box["confidence"] - side["threshold"] > tolerance]
        gaps += [box["confidence"] for box in sure]
        reasons += [f"{len(sure)} boxes {what}, one of {one['label']} {one['confidence']:.3f}" for one in sure[:1]]
    return float(max([*gaps, *moved], default=0.0)), tuple(reasons)


def margin_of_boxes(answer: Answer) -> float:
    """How near the least sure box, or the best one that was left out, is to the threshold."""
    at = answer["threshold"]
    if not answer["boxes"]:
        return float(np.clip((answer["confidence"] - (1 - at)) / max(at, 1e-9), 0, 1))
    least = min(box["confidence"] for box in answer["boxes"])
    return float(np.clip((least - at) / max(1 - at, 1e-9), 0, 1))


def truth_of_boxes(row: Mapping[str, Any], answer: Answer) -> str:
    """The label said, where the image has a box of that label (or none, where it is called normal); else the row's own."""
    known = {box.label for box in boxes_of(row.get("boxes"))} or {NORMAL}
    return answer["label"] if answer["label"] in known else row["label"]


def wrong_boxes(
    boxes: Sequence[Mapping[str, Any]], label: str, answer: Answer, labels: Sequence[str]
) -> tuple[str, str] | None:
    """See `Answering.wrong_boxes`. labels: that a box may have."""
    width, height = answer["width_px"], answer["height_px"]
    allowed = (
        f"boxes of {', '.join(labels)}, each [x1, y1, x2, y2] in pixels, x1 < x2, y1 < y2, inside the image's {width} x {height}; "
        f"`label` is that of one of them, or {NORMAL} where there are none"
    )
    for each in boxes:
        x1, y1, x2, y2 = each["box"]
        if each["label"] not in labels or not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
            return f"box {each['label']} [{x1:g}, {y1:g}, {x2:g}, {y2:g}]", allowed
    if label not in ({each["label"] for each in boxes} or {NORMAL}):
        return f"label {label} with {len(boxes)} boxes, none of them of it", allowed
    return None
