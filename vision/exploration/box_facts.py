"""The figures of a data set's boxes: one row a box, what the findings ask for, what the page's table says."""

import numpy as np
import pandas as pd

from vision.data.boxes.geometry import boxes_of, has_boxes
from vision.exploration.facts import Fact, named

SPLITS = ("train", "val", "test")
SMALL = 0.03
"""Shorter side of a box, as a share of the image's, under which a detector sees a few pixels."""
EDGE = 0.005
CROWDED = 20


def box_table(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a box of these manifest rows. Columns: image (row number), path, split, label, width_px, height_px, and as
    shares of the image x, y (centre), wide, high, area; aspect (width / height)."""
    found = [
        (image, row.path, row.split, *box, row.width_px, row.height_px)
        for image, row in enumerate(rows.itertuples())
        for box in boxes_of(row.boxes)
    ]
    names = ["image", "path", "split", "label", "x1", "y1", "x2", "y2", "image_width_px", "image_height_px"]
    table = pd.DataFrame(found, columns=names)
    width, height = table["x2"] - table["x1"], table["y2"] - table["y1"]
    return table.assign(
        width_px=width,
        height_px=height,
        x=(table["x1"] + table["x2"]) / 2 / table["image_width_px"],
        y=(table["y1"] + table["y2"]) / 2 / table["image_height_px"],
        wide=width / table["image_width_px"],
        high=height / table["image_height_px"],
        area=width * height / table["image_width_px"] / table["image_height_px"],
        aspect=width / height.where(height > 0),
    )


def class_count(rows: pd.DataFrame) -> int:
    """How many classes these manifest rows are of: of their boxes where labels are those, else of their labels."""
    labels = set(rows["label"])
    named = {box.label for value in rows.get("boxes", ()) for box in boxes_of(value)}
    return len(named) if named & labels else len(labels)


def flawless(rows: pd.DataFrame) -> pd.Series:
    """Of each row: is it known that nothing is wrong with it?"""
    return rows["boxes"].map(lambda value: has_boxes(value) and len(value) == 0).astype(bool)


def box_facts(rows: pd.DataFrame, table: pd.DataFrame) -> dict[str, Fact]:
    """By name, see `vision.exploration.insights`. rows: readable ones that are in a split, as in `table`."""
    if table.empty:
        return {"flawless": Fact(1.0)}
    images = table.groupby("label")["image"].nunique().sort_values(ascending=False, kind="stable")
    tested = table[table["split"] == "test"].groupby("label")["image"].nunique().reindex(images.index, fill_value=0)
    short = table[["wide", "high"]].min(axis=1)
    small = table[short < SMALL]
    per_image = table["image"].value_counts()
    crowded = per_image[per_image > CROWDED]
    return {
        "imbalance": Fact(float(images.iloc[0] / images.iloc[-1]), _most_and_least(images)),
        "smallest_class": Fact(float(images.iloc[-1]), str(images.index[-1])),
        "test_images": Fact(float(tested.min()), str(tested.idxmin())),
        "small_boxes": Fact(len(small) / len(table), _most(small["label"])),
        "cut_boxes": Fact(float(_cut(table).mean()), _most(table.loc[_cut(table), "label"])),
        "crowded": Fact(float(len(crowded)), named(rows["path"].iloc[crowded.index])),
        "flawless": Fact(float(flawless(rows).mean())),
        "box_spread": Fact(float(np.sqrt(table["area"].quantile(0.95) / max(table["area"].quantile(0.05), 1e-9)))),
    }


def class_table(rows: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """One row a class, most boxes first: boxes, images, and how large its boxes are."""
    groups = table.groupby("label")
    shown = pd.DataFrame(
        {
            "boxes": groups.size(),
            "images": groups["image"].nunique(),
            **{f"in {split}": table[table["split"] == split].groupby("label").size() for split in SPLITS},
            "median, px": [f"{w:.0f} x {h:.0f}" for w, h in groups[["width_px", "height_px"]].median().to_numpy()],
            "least side, px": groups[["width_px", "height_px"]].min().min(axis=1).map("{:.0f}".format),
            "median share": groups["area"].median().map("{:.2%}".format),
        }
    )
    shown = shown.fillna(dict.fromkeys([f"in {split}" for split in SPLITS], 0))
    shown = shown.astype({f"in {split}": int for split in SPLITS})
    return shown.sort_values("boxes", ascending=False, kind="stable").rename_axis("class").reset_index()


def _cut(table: pd.DataFrame) -> pd.Series:
    """Boxes that touch the image's border: what they hold may go on outside."""
    low = table[["x", "y"]].to_numpy() - table[["wide", "high"]].to_numpy() / 2
    high = table[["x", "y"]].to_numpy() + table[["wide", "high"]].to_numpy() / 2
    return pd.Series((low <= EDGE).any(axis=1) | (high >= 1 - EDGE).any(axis=1), index=table.index)


def _most_and_least(images: pd.Series) -> str:
    return f"{images.index[0]}: {images.iloc[0]:,}; {images.index[-1]}: {images.iloc[-1]:,}"


def _most(labels: pd.Series) -> str:
    counts = labels.value_counts()
    return f"most of them {counts.index[0]}" if len(counts) else ""
