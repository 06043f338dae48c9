"""Image classification, what its data looks like: class sizes, samples of each class, classes that look alike."""

from pathlib import Path

import numpy as np
import pandas as pd

from vision.evaluation.galleries import sample_grid
from vision.evaluation.plots import class_distribution
from vision.evaluation.report import Part, Picture, Table, split_table
from vision.exploration import likeness, pictures
from vision.exploration.facts import Fact
from vision.kinds.base import Exploration

MOST_PAIRS = 3
EACH = 2
LISTED = 8


class ClassifyExploring:
    """Implements `vision.kinds.base.Exploring`."""

    def explore(self, rows: pd.DataFrame, root: Path, folder: Path, grid_images: int) -> Exploration:
        if rows.empty:
            return Exploration({}, ())
        sample = likeness.sample_rows(rows)
        points, _ = likeness.standardised(sample)
        alike = likeness.mixing(sample["label"].to_numpy(), likeness.neighbours(points))
        parts = [_classes(rows, root, folder, grid_images)]
        if len(alike):
            parts.append(_alike(alike, _nearest_pairs(sample, points, alike), root, folder))
        return Exploration(_facts(rows, alike), tuple(parts))


def _facts(rows: pd.DataFrame, alike: pd.DataFrame) -> dict[str, Fact]:
    placed = rows[rows["split"].notna()]
    counts = placed["label"].value_counts()
    if counts.empty:
        return {}
    tested = placed.loc[placed["split"] == "test", "label"].value_counts().reindex(counts.index, fill_value=0)
    most, least = (f"{label}: {counts[label]:,}" for label in (counts.index[0], counts.index[-1]))
    found = {
        "imbalance": Fact(float(counts.iloc[0] / counts.iloc[-1]), f"{most}; {least}"),
        "smallest_class": Fact(float(counts.iloc[-1]), str(counts.index[-1])),
        "test_images": Fact(float(tested.min()), str(tested.idxmin())),
    }
    if len(alike):
        found["mixed"] = Fact(alike["mixed"][0], f"{alike['first'][0]} and {alike['second'][0]}")
    return found


def _classes(rows: pd.DataFrame, root: Path, folder: Path, grid_images: int) -> Part:
    return Part(
        title="The classes",
        tables=(split_table(rows).model_copy(update={"title": ""}),),
        pictures=(
            Picture(path=class_distribution(rows, folder / "classes.png"), caption="Images of each class by split."),
            Picture(
                path=sample_grid(rows, root, folder / "samples.png", grid_images), caption="Drawn evenly over classes."
            ),
        ),
    )


def _nearest_pairs(sample: pd.DataFrame, points: np.ndarray, alike: pd.DataFrame) -> pd.DataFrame:
    """Of each of the most mixed pairs of classes, the EACH pairs of images that the features tell apart least."""
    from scipy.spatial.distance import cdist

    labels, found = sample["label"].to_numpy(), []
    for row in alike.head(MOST_PAIRS).itertuples():
        ones, others = np.flatnonzero(labels == row.first), np.flatnonzero(labels == row.second)
        apart = cdist(points[ones], points[others])
        for _ in range(min(EACH, len(ones), len(others))):
            one, other = np.unravel_index(apart.argmin(), apart.shape)
            found.append((ones[one], others[other], row.mixed))
            apart[one, :] = apart[:, other] = np.inf
    sides = [list(side) for side in zip(*found, strict=True)]
    parts = [
        sample.iloc[sides[place]].reset_index(drop=True).add_prefix(f"{side}_")
        for place, side in enumerate(("first", "second"))
    ]
    return pd.concat(parts, axis=1).assign(words=[f"mixing {mixed:.2f}" for mixed in sides[2]])


def _alike(alike: pd.DataFrame, pairs: pd.DataFrame, root: Path, folder: Path) -> Part:
    rows = tuple(
        (row.first, row.second, f"{row.mixed:.2f}", f"{row.images:,}") for row in alike.head(LISTED).itertuples()
    )
    note = f"Of {len(alike):,} pairs. 0: apart in light, colour and texture; 1: as if nothing told them apart."
    text = "Classes that lie among each other in the feature table, and images of them that it can hardly tell apart."
    path = pictures.pair_grid(
        pairs, root, "Images of two classes that the features tell apart least", folder / "alike.png"
    )
    return Part(
        title="Classes that look alike",
        text=(text,),
        tables=(Table(title="", columns=("class", "class", "mixing", "images"), rows=rows, note=note),),
        pictures=(Picture(path=path),),
    )
