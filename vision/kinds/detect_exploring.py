"""Detection, what its data looks like: the boxes of each class, how large they are and where, samples, flawless images."""

from pathlib import Path

import pandas as pd

from vision.data.boxes.geometry import boxes_of
from vision.evaluation.report import Part, Picture, frame_table
from vision.exploration import box_pictures
from vision.exploration.box_facts import box_facts, box_table, class_table, flawless
from vision.kinds.base import Exploration


class DetectExploring:
    """Implements `vision.kinds.base.Exploring`."""

    def explore(self, rows: pd.DataFrame, root: Path, folder: Path, grid_images: int) -> Exploration:
        placed = rows[rows["split"].notna()].reset_index(drop=True)
        if placed.empty:
            return Exploration({}, ())
        table = box_table(placed)
        if table.empty:
            return Exploration(box_facts(placed, table), ())
        placed.attrs["labels"] = box_pictures.class_order(table)
        parts = [_boxes(placed, table, folder), _samples(placed, table, root, folder, grid_images)]
        return Exploration(box_facts(placed, table), tuple(parts))


def _boxes(rows: pd.DataFrame, table: pd.DataFrame, folder: Path) -> Part:
    per_image = rows["boxes"].map(lambda value: len(boxes_of(value))).tolist()
    without, unknown = int(flawless(rows).sum()), int(rows["boxes"].isna().sum())
    text = (
        f"{len(table):,} boxes of {table['label'].nunique()} classes on {table['image'].nunique():,} images; "
        f"{without:,} images have no defect ({without / len(rows):.0%})"
        + (f"; of {unknown:,} nobody said where the defect is." if unknown else ".")
    )
    counts = box_pictures.box_counts(table, per_image, folder / "classes.png")
    sizes = box_pictures.box_sizes(table, folder / "boxes.png")
    words = (
        "Left: each dot is a box, on the diagonal the square ones. Right: how many boxes cover each part of the image."
    )
    return Part(
        title="The boxes",
        text=(text,),
        tables=(frame_table("", class_table(rows, table)),),
        pictures=(Picture(path=counts, caption="How many there are."), Picture(path=sizes, caption=words)),
    )


def _samples(rows: pd.DataFrame, table: pd.DataFrame, root: Path, folder: Path, grid_images: int) -> Part:
    """Images with boxes, drawn evenly over classes; beside them images without a defect."""
    chosen = _even(rows, table, grid_images)
    title = f"Images with their boxes ({len(chosen)} of n = {table['image'].nunique():,})"
    path = box_pictures.boxed_grid(chosen, root, title, folder / "samples.png")
    pictures = [Picture(path=path, caption="Drawn evenly over classes; a class has one colour on all of them.")]
    clean = rows[flawless(rows)]
    if len(clean):
        shown = clean.sample(min(10, len(clean)), random_state=0)
        title = f"Images without a defect ({len(shown)} of n = {len(clean):,})"
        path = box_pictures.boxed_grid(shown, root, title, folder / "flawless.png")
        pictures.append(Picture(path=path, caption="A box that is missing here teaches that its defect is none."))
    return Part(title="Samples", pictures=tuple(pictures))


def _even(rows: pd.DataFrame, table: pd.DataFrame, count: int) -> pd.DataFrame:
    """Rows for a grid: each class's images in turn, no image twice."""
    pairs = table.drop_duplicates(["image", "label"]).sample(frac=1, random_state=0)
    pairs = pairs.assign(turn=pairs.groupby("label").cumcount()).sort_values(["turn", "label"])
    chosen = pairs.drop_duplicates("image").head(count).sort_values(["label", "turn"])
    shown = rows.iloc[chosen["image"]]
    shown.attrs = rows.attrs
    return shown
