"""The figures of a data set that findings are made from: model-free, from the splits table alone."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from vision.exploration.copies import exact_copies
from vision.exploration.likeness import between_labels

NAMED = 3
CAMERA = ("brightness", "width_px", "height_px", "aspect")
"""Features that tell how a picture was taken rather than what it shows; sharpness and noise also know texture."""


@dataclass(frozen=True)
class Fact:
    """`value`, and what it is about: names of files, labels, a feature."""

    value: float
    where: str = ""


def facts(rows: pd.DataFrame, pairs: pd.DataFrame, bits: int, side_px: int) -> dict[str, Fact]:
    """By name; what can't be measured is not there.

    rows: the splits table. pairs: `copies.near_pairs` of its readable rows, somewhat wider than `bits`, which is the
    split's own limit. side_px: what the model will see.
    """
    readable = rows[rows["error"].isna()]
    found = _faults(rows)
    if readable.empty:
        return found
    return found | _spreads(readable, side_px) | _copies(readable, pairs, bits) | _labels(readable)


def _faults(rows: pd.DataFrame) -> dict[str, Fact]:
    empty = rows["blank"].fillna(False).astype(bool) | rows["burnt"].fillna(False).astype(bool)
    return {
        "unreadable": Fact(float(rows["error"].notna().sum()), named(rows.loc[rows["error"].notna(), "path"])),
        "empty": Fact(float(empty.sum()), named(rows.loc[empty, "path"])),
    }


def _spreads(rows: pd.DataFrame, side_px: int) -> dict[str, Fact]:
    """Each over the middle 90 %: a single strange image makes no spread."""
    low, high = rows["brightness"].quantile([0.05, 0.95])
    shortest, pixels = rows[["width_px", "height_px"]].min(axis=1), rows["width_px"] * rows["height_px"]
    dark, small = rows["brightness"] < 0.15, shortest < side_px
    long = rows["aspect"].where(rows["aspect"] > 1, 1 / rows["aspect"]) > 1.8
    return {
        "brightness_spread": Fact(float(high - low), f"{low:.2f} to {high:.2f}"),
        "dark": Fact(float(dark.mean()), named(rows.loc[dark].sort_values("brightness")["path"])),
        "size_spread": Fact(float(pixels.quantile(0.95) / pixels.quantile(0.05))),
        "enlarged": Fact(float(small.mean()), f"{side_px} px"),
        "long": Fact(float(long.mean()), named(rows.loc[long, "path"])),
    }


def _copies(rows: pd.DataFrame, pairs: pd.DataFrame, bits: int) -> dict[str, Fact]:
    near = pairs[pairs["bits"] <= bits]
    paths = pd.concat([near["first_path"], near["second_path"]]).nunique()
    other = near[near["first_label"] != near["second_label"]]
    apart = pairs[pairs["first_split"].notna() & pairs["second_split"].notna()]
    apart = apart[(apart["bits"] > bits) & (apart["first_split"] != apart["second_split"])]
    families = rows["family"].value_counts()
    return {
        "exact_copies": Fact(float(exact_copies(rows)), named(rows.loc[rows["sha256"].duplicated(), "path"])),
        "near_copies": Fact(paths / len(rows), f"{bits} of 64 bits"),
        **({} if _boxed(rows) else {"other_label": Fact(float(len(other)), pair_names(other))}),
        "just_apart": Fact(float(len(apart)), f"{bits + 1} to {int(pairs['bits'].max()) if len(pairs) else bits} bits"),
        "largest_family": Fact(float(families.iloc[0] / len(rows)), f"{families.iloc[0]:,} images"),
    }


def _boxed(rows: pd.DataFrame) -> bool:
    """Then a label is only what an image is split by: of two shots of one part one may show a defect."""
    return "boxes" in rows and bool(rows["boxes"].notna().any())


def _labels(rows: pd.DataFrame) -> dict[str, Fact]:
    between = between_labels(rows, CAMERA)
    return {"camera_tells": Fact(float(between.iloc[0]), str(between.index[0]))} if len(between) else {}


def named(names: pd.Series) -> str:
    """The first few, and how many more there are."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(str(name) for name in names.iloc[:NAMED]) + more


def pair_names(pairs: pd.DataFrame) -> str:
    return named(pairs["first_path"] + " = " + pairs["second_path"]) if len(pairs) else ""


def shown(found: Mapping[str, Fact]) -> dict[str, dict[str, float | str]]:
    """For a stage's record."""
    return {name: {"value": fact.value, "where": fact.where} for name, fact in found.items()}
