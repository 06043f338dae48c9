"""Mean average precision by COCO's own evaluator (faster-coco-eval, the maintained one), in the words of this project."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vision.kinds.detect_boxes import MOST_BOXES, Found


def coco_precisions(
    found: Sequence[Found], targets: Sequence[Mapping], sizes_px: Sequence[tuple[int, int]], classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Average precision float [K] at an overlap of 0.5, and the mean of 0.5 to 0.95; NaN for a class without a true box.

    targets: of each image `boxes` [n, 4] in 0..1 and `labels` [n].
    """
    from faster_coco_eval import COCO, COCOeval_faster

    truth = COCO(_truth(targets, sizes_px, classes))
    said = truth.loadRes(_said(found, sizes_px))
    judge = COCOeval_faster(truth, said, iouType="bbox")
    judge.params.maxDets = [1, 10, MOST_BOXES]
    judge.evaluate()
    judge.accumulate()
    precision = judge.eval["precision"][:, :, :, 0, -1]  # [overlaps, recalls, K], of boxes of any size
    known = np.where(precision < 0, np.nan, precision).mean(axis=1)
    return known[0], known.mean(axis=0)


def _truth(targets: Sequence[Mapping], sizes_px: Sequence[tuple[int, int]], classes: int) -> dict[str, Any]:
    annotations = [
        {"image_id": number, "category_id": int(label), "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for number, (target, size) in enumerate(zip(targets, sizes_px, strict=True))
        for box, label in zip(_pixels(target["boxes"], size), target["labels"], strict=True)
    ]
    images = [{"id": n, "width": int(width), "height": int(height)} for n, (width, height) in enumerate(sizes_px)]
    return {
        "images": images,
        "annotations": [{"id": number, **one} for number, one in enumerate(annotations, 1)],
        "categories": [{"id": number, "name": str(number)} for number in range(classes)],
    }


def _said(found: Sequence[Found], sizes_px: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    return [
        {"image_id": number, "category_id": int(label), "bbox": box, "score": float(score)}
        for number, (one, size) in enumerate(zip(found, sizes_px, strict=True))
        for box, label, score in zip(_pixels(one.boxes, size), one.classes, one.scores, strict=True)
    ]


def _pixels(boxes: Any, size_px: tuple[int, int]) -> list[list[float]]:
    """(x1, y1, x2, y2) in 0..1 -> [x, y, width, height]."""
    sides = np.asarray(boxes, float).reshape(-1, 4) * [*size_px, *size_px]
    return np.concatenate((sides[:, :2], sides[:, 2:] - sides[:, :2]), axis=1).tolist()
