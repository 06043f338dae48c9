"""Rules over boxes, for data that has them: the boxes themselves, the classes they are of, and the files they belong to."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from configs.contract import ContractConfig
from expectations.rules import ColumnRule, Table, at_most, between, boxed, empty, in_set, of_boxes, readable
from vision.data.boxes.geometry import Box, boxes_of, has_boxes, overlaps

UNMATCHED = ("no file", "not annotated", "crowd only", "other size")
"""How the faults begin that mean: annotations and files don't match."""


def unmatched(splits: pd.DataFrame) -> pd.Series:
    """The fault of each row whose file and annotations don't match; None elsewhere."""
    mismatch = [isinstance(error, str) and error.startswith(UNMATCHED) for error in splits["error"]]
    return splits["error"].astype(object).where(pd.Series(mismatch, index=splits.index, dtype=bool), None)


def box_tables(splits: pd.DataFrame, contract: ContractConfig, labels: Sequence[str]) -> tuple[Table, ...]:
    """Of data with boxes four tables; of other data none."""
    if not boxed(splits):
        return ()
    boxes = _boxes(readable(splits), contract.duplicate_box_iou)
    tables = (
        Table("boxes", "boxes", ("box",), boxes, _box_rules(contract, labels if of_boxes(labels) else ())),
        _matches(splits, contract),
        _flawless(readable(splits), contract),
    )
    return (*tables, _categories(boxes, labels)) if of_boxes(labels) else tables


def _boxes(rows: pd.DataFrame, duplicate_iou: float) -> pd.DataFrame:
    """One row a box. Columns: box (path, which, what), label, side_px (the shorter one), outside_px (how far it reaches
    beyond the image), twin (is there one before it of its class and place?)."""
    found = []
    for row in rows.itertuples():
        boxes = boxes_of(row.boxes)
        twins = _twins(boxes, duplicate_iou)
        for number, (box, twin) in enumerate(zip(boxes, twins, strict=True), 1):
            beyond = max(-box.x1, -box.y1, box.x2 - row.width_px, box.y2 - row.height_px, 0.0)
            side = min(box.width_px, box.height_px)
            found.append((f"{row.path} box {number} {box.label}", box.label, side, beyond, bool(twin)))
    columns = ["box", "label", "side_px", "outside_px", "twin"]
    table = pd.DataFrame(found, columns=columns)
    return table.astype({"side_px": float, "outside_px": float, "twin": bool})


def _twins(boxes: Sequence[Box], duplicate_iou: float) -> np.ndarray:
    """bool [n]: has a box before it the same class and, by intersection over union, the same place?"""
    sides = np.array([box[1:] for box in boxes], np.float64).reshape(-1, 4)
    labels = np.array([box.label for box in boxes], dtype=object)
    alike = (overlaps(sides, sides) >= duplicate_iou) | (sides[:, None] == sides[None]).all(axis=2)
    return np.tril(alike & (labels[:, None] == labels[None]), k=-1).any(axis=1)


def _box_rules(contract: ContractConfig, labels: Sequence[str]) -> tuple[ColumnRule, ...]:
    side, beyond = contract.min_box_side_px, contract.max_box_outside_px
    twins = f"no two boxes of a class with an overlap of {contract.duplicate_box_iou:g} or more"
    known = in_set("box_labels_known", "label", list(labels), f"one of {', '.join(labels)}")
    return (
        between("box_inside", "outside_px", f"at most {beyond:g} px beyond the image", high=beyond),
        between("box_side", "side_px", f"each side at least {side:g} px", low=side),
        in_set("duplicate_boxes", "twin", [False], twins),
        *((known,) if labels else ()),
    )


def _matches(splits: pd.DataFrame, contract: ContractConfig) -> Table:
    rows = pd.DataFrame({"path": splits["path"], "unmatched": unmatched(splits)})
    share = contract.max_unmatched_share
    words = f"{at_most(share)} without its annotations, no annotations without their image"
    return Table("annotations", "images", ("path",), rows, (empty("annotations_match", "unmatched", words, share),))


def _flawless(rows: pd.DataFrame, contract: ContractConfig) -> Table:
    none = rows["boxes"].map(lambda value: has_boxes(value) and len(value) == 0)
    low, high = contract.min_flawless_share, contract.max_flawless_share
    table = pd.DataFrame({"what": ["images without a defect"], "share": [float(none.mean()) if len(rows) else 0.0]})
    words = f"{low:.0%} to {high:.0%} of the images have no defect"
    return Table("flawless", "shares", ("what",), table, (between("flawless_share", "share", words, low, high),))


def _categories(boxes: pd.DataFrame, labels: Sequence[str]) -> Table:
    counts = boxes["label"].value_counts().reindex(list(labels), fill_value=0)
    rows = pd.DataFrame({"label": counts.index, "boxes": counts.to_numpy()})
    rule = between("category_has_boxes", "boxes", "at least one box of each class", low=1)
    return Table("categories", "classes", ("label",), rows, (rule,))
