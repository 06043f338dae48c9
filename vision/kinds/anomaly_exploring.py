"""Anomalies, what their data looks like: a classifier's chapters, and whether there are normal images enough to learn from."""

from pathlib import Path

import pandas as pd

from vision.data.boxes.geometry import NORMAL
from vision.evaluation.report import Part, Table
from vision.kinds.base import Exploration
from vision.kinds.classify_exploring import ClassifyExploring

SPLITS = {"train": "fill the memory", "val": "set the threshold", "test": "measure the false alarms"}


class AnomalyExploring:
    """Implements `vision.kinds.base.Exploring`."""

    def explore(self, rows: pd.DataFrame, root: Path, folder: Path, grid_images: int) -> Exploration:
        found = ClassifyExploring().explore(rows, root, folder, grid_images)
        normal = rows[(rows["label"] == NORMAL) & rows["split"].notna()]
        # How many defects there are to each normal image teaches nothing here.
        facts = {name: fact for name, fact in found.facts.items() if name != "imbalance"}
        return Exploration(facts, (_normal_images(normal), *found.parts))


def _normal_images(normal: pd.DataFrame) -> Part:
    """The smallest false-alarm rate that n held-back images can state is 1 / (n + 1)."""
    rows = []
    for split, use in SPLITS.items():
        part = normal[normal["split"] == split]
        least = f"{1 / (len(part) + 1):.3f}"
        rows.append((split, use, f"{len(part):,}", f"{part['family'].nunique():,}", "–" if split == "train" else least))
    columns = ("split", "its normal images", "images", "families", "smallest false-alarm rate that they can state")
    text = "The model learns from normal images alone; defects are for validation and test."
    return Part(title="Normal images", text=(text,), tables=(Table(title="", columns=columns, rows=tuple(rows)),))
