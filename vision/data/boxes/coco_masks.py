"""The box around a COCO segmentation, for annotations that have no `bbox`: polygons and run lengths."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vision.errors import UserError

FORMS = "polygons [[x, y, x, y, …], …] or run lengths {size, counts}"


def extent(segmentation: Any, where: str) -> list[float]:
    """[x, y, width, height] in pixels. Raises `UserError` when there is neither bbox nor segmentation, or a broken one."""
    if not segmentation:
        raise UserError(f"{where} has neither a bbox nor a segmentation", "one of the two", "add it, or remove it")
    try:
        return _of_runs(segmentation) if isinstance(segmentation, Mapping) else _of_polygons(segmentation)
    except (ValueError, TypeError, KeyError, IndexError, RuntimeError) as error:  # the last from pybind11
        raise UserError(f"{where} has a broken segmentation ({error})", FORMS, "mend or remove it") from None


def _of_polygons(polygons: Sequence) -> list[float]:
    flat = [polygons] if polygons and not isinstance(polygons[0], Sequence) else polygons
    points = np.concatenate([np.asarray(polygon, np.float64).reshape(-1, 2) for polygon in flat])
    if len(points) < 3 or not np.isfinite(points).all():
        raise ValueError("a polygon needs three points of finite numbers")
    low, high = points.min(axis=0), points.max(axis=0)
    return [*low.tolist(), *(high - low).tolist()]


def _of_runs(runs: Mapping[str, Any]) -> list[float]:
    from faster_coco_eval.core import mask

    high, wide = (int(side) for side in runs["size"])
    packed = (
        mask.frPyObjects(dict(runs), high, wide)
        if isinstance(runs["counts"], Sequence) and not isinstance(runs["counts"], str)
        else runs
    )
    return np.asarray(mask.toBbox(packed), np.float64).reshape(-1, 4)[0].tolist()
