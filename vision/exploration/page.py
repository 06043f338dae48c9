"""The page of a data set: findings first, then what they were seen in."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from vision.evaluation.report import Figure, Part, Picture, RunReport, Table, frame_table
from vision.exploration import copies, likeness, pictures
from vision.exploration.box_facts import class_count
from vision.exploration.facts import Fact, facts
from vision.exploration.insights import insights, rule_table
from vision.kinds.base import Exploration

MOST_PAIRS = 8
SHOWN = ("width_px", "height_px", "file_bytes", "brightness", "contrast", "sharpness", "saturation", "noise")
NOTHING = "No rule spoke: nothing in these figures asks for anything."


@dataclass(frozen=True)
class DataSet:
    """rows: the splits table. root: the folder that its paths are in. bits: near-duplicates of the split. side_px, crop:
    of the model's input."""

    title: str
    rows: pd.DataFrame
    root: Path
    bits: int
    side_px: int
    crop: str = "center"

    @property
    def readable(self) -> pd.DataFrame:
        return self.rows[self.rows["error"].isna()].reset_index(drop=True)


def data_report(data: DataSet, own: Exploration, folder: Path) -> tuple[RunReport, dict[str, Fact]]:
    """The page's contents, and the facts behind it. own: what the kind says about this data. Pictures go to `folder`."""
    readable = data.readable
    pairs = copies.near_pairs(readable, data.bits + copies.WIDER_BITS)
    found = facts(data.rows, pairs, data.bits, data.side_px) | dict(own.facts)
    if data.crop == "squash" and "long" in found:
        found["squashed"] = found.pop("long")
    points = insights(found)
    parts = [Part(title="What the data says", text=() if points else (NOTHING,), points=points), *own.parts]
    if len(readable):
        parts += [_spread(data, folder), _map(readable, folder), _pairs(data, pairs, folder)]
    parts.append(Part(title="How the findings are made", text=(_method(data),), tables=(rule_table(found),)))
    report = RunReport(
        title=f"The data of {data.title}", summary=_summary(data), figures=_figures(data, found), parts=tuple(parts)
    )
    return report, found


def _summary(data: DataSet) -> str:
    rows = data.rows
    return (
        f"{len(rows):,} images in {class_count(rows)} classes, described without any model. "
        f"{rows['family'].nunique():,} families are kept together by the split; nothing was trained for this page."
    )


def _figures(data: DataSet, found: Mapping[str, Fact]) -> tuple[Figure, ...]:
    rows = data.readable
    figures = [
        ("images", f"{len(data.rows):,}", "files with a label"),
        ("classes", f"{class_count(rows):,}", ""),
        ("families", f"{rows['family'].nunique():,}", "groups of near-duplicates, and named groups"),
        ("left out", f"{int(data.rows['split'].isna().sum()):,}", "unreadable, or between two splits"),
    ]
    if len(rows):
        size = f"{rows['width_px'].median():.0f} x {rows['height_px'].median():.0f}"
        figures += [
            ("typical size", size, "median, pixels"),
            ("brightness", f"{rows['brightness'].median():.2f}", "median, 0 to 1"),
        ]
    if "imbalance" in found:
        figures.append(("imbalance", f"{found['imbalance'].value:.1f} : 1", "largest class to smallest"))
    return tuple(Figure(name=name, value=value, meaning=meaning) for name, value, meaning in figures)


def _spread(data: DataSet, folder: Path) -> Part:
    rows = data.readable
    return Part(
        title="Size, light and sharpness",
        tables=(_spread_table(rows),),
        pictures=(
            Picture(path=pictures.spreads(rows, folder / "spreads.png"), caption="How each class was photographed."),
            Picture(
                path=pictures.extremes(rows, data.root, folder / "extremes.png"),
                caption="The extremes of each feature: blank, cut or strange images stand here.",
            ),
        ),
    )


def _spread_table(rows: pd.DataFrame) -> Table:
    cuts = (
        rows[list(SHOWN)]
        .quantile([0, 0.05, 0.5, 0.95, 1])
        .T.set_axis(["least", "5 %", "median", "95 %", "most"], axis=1)
    )
    whole = cuts.index.isin(["width_px", "height_px", "file_bytes"])
    shown = cuts.astype(object)
    shown.loc[whole] = cuts.loc[whole].map(lambda value: f"{value:,.0f}")
    shown = shown.rename_axis("feature").reset_index()
    return frame_table("", shown, "Middle values matter; the ends are single images.", digits=2)


def _map(rows: pd.DataFrame, folder: Path) -> Part:
    sample = likeness.sample_rows(rows)
    points, names = likeness.standardised(sample)
    flat, how = likeness.flat_map(points)
    title = f"Images by {len(names)} model-free features, {how} (n = {len(sample):,}, one a family)"
    text = (
        "Near images are alike in light, colour, texture and size, which is all that these features know; distances "
        "between far groups say nothing. Classes that lie apart here can be told apart without looking at any shape."
    )
    path = pictures.labelled_map(flat, sample["label"], title, folder / "map.png")
    return Part(title="A map of the data", text=(text,), pictures=(Picture(path=path),))


def _pairs(data: DataSet, pairs: pd.DataFrame, folder: Path) -> Part:
    wide = data.bits + copies.WIDER_BITS
    near = int((pairs["bits"] <= data.bits).sum())
    text = (
        f"{near:,} pairs have hashes at most {data.bits} of 64 bits apart and are kept in one split; "
        f"{len(pairs) - near:,} more are up to {wide} bits apart."
    )
    if pairs.empty:
        return Part(title="Near-duplicates", text=(text,))
    chosen = copies.pick_pairs(pairs, MOST_PAIRS)
    chosen = chosen.assign(words=[f"{row.bits} bits, {_splits(row)}" for row in chosen.itertuples()])
    title = "Pairs that are nearly the same (red: under two labels)"
    path = pictures.pair_grid(chosen, data.root, title, folder / "pairs.png")
    return Part(title="Near-duplicates", text=(text,), pictures=(Picture(path=path),))


def _splits(row) -> str:
    one, other = (name if isinstance(name, str) else "left out" for name in (row.first_split, row.second_split))
    return one if one == other else f"{one} and {other}"


def _method(data: DataSet) -> str:
    return (
        f"Each finding is a rule that was met: the figure on the left went beyond the threshold. Near-duplicates are "
        f"pairs of 64-bit perceptual hashes at most {data.bits} bits apart (`data.split.near_duplicate_bits`). Mixing "
        f"counts the {likeness.NEIGHBOURS} nearest images by the feature table; variance between classes is corrected "
        f"for chance. No model was asked."
    )
