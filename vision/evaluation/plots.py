"""Charts of an evaluation, a training and a data set, each a PNG file. Titles say on how many images.

matplotlib is loaded when the first picture is drawn.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vision.evaluation.galleries import sample_grid as sample_grid
from vision.evaluation.metrics import confused_pairs as pairs_table
from vision.evaluation.metrics import row_normalised
from vision.evaluation.style import (
    BLUE,
    GREY,
    INK,
    MANY,
    ORANGE,
    RIGHT,
    SPLIT_COLOURS,
    WRONG,
    label_axes,
    new_figure,
    percent,
    readable,
    save,
)

MOST_NUMBERS = 25
"""Classes up to which a confusion matrix carries a number in each cell."""
MOST_TICKS = 60
_FIRST_WORD = r"[_\s]+"
MOST_BARS = 60
"""Classes up to which each has its bar; a picture of a thousand would be 48,000 pixels high."""


def confusion_matrix(
    confusion: np.ndarray, labels: Sequence[str], path: Path, normalised: bool = False, unit: str = "images"
) -> Path:
    """confusion: counts [K, K] of `unit`, rows the true classes. normalised: each row as shares of its class."""
    shares, classes = row_normalised(confusion), len(labels)
    side = float(np.clip(1.5 + 0.62 * classes, 4.4, 15))
    figure = new_figure(side + 1.6, side)
    axes = figure.subplots()
    image = axes.imshow(np.nan_to_num(shares), cmap="Blues", vmin=0, vmax=1)
    kind = "shares of each true class" if normalised else f"{unit} (shade: share of the row)"
    label_axes(axes, f"Answers by true class (n = {int(confusion.sum()):,})\n{kind}", "answer", "true class")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    _class_ticks(axes, labels)
    if classes <= MOST_NUMBERS:
        _cell_numbers(axes, confusion, shares, normalised)
    bar = figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02, ticks=[0, 0.5, 1], format=lambda v, _: percent(v))
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, length=0)
    return save(figure, path)


def _class_ticks(axes: Any, labels: Sequence[str]) -> None:
    step = -(-len(labels) // MOST_TICKS)
    places, size = range(0, len(labels), step), 9 if len(labels) <= MOST_NUMBERS else 6.5
    names = [readable(labels[place]) for place in places]
    axes.set_xticks(places, names, rotation=40, ha="right", rotation_mode="anchor", fontsize=size)
    axes.set_yticks(places, names, fontsize=size)


def _cell_numbers(axes: Any, confusion: np.ndarray, shares: np.ndarray, normalised: bool) -> None:
    size = 10 if len(confusion) <= 12 else 7
    for row, column in np.ndindex(confusion.shape):
        share, count = shares[row, column], int(confusion[row, column])
        text = f"{share:.2f}" if normalised and count else f"{count:,}"
        text = "–" if np.isnan(share) else text
        colour = "white" if share > 0.55 else (INK if count else GREY)
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color=colour)


def confused_pairs(confusion: np.ndarray, labels: Sequence[str], path: Path, most: int = 12) -> Path:
    """Bars of the most frequent errors, each "true class taken for answer"."""
    table = pairs_table(confusion, labels).head(most).iloc[::-1]
    figure = new_figure(8, 1.4 + 0.36 * max(len(table), 2))
    axes = figure.subplots()
    errors = int(confusion.sum() - np.trace(confusion))
    label_axes(axes, f"What is taken for what ({errors:,} errors in n = {int(confusion.sum()):,})", "images")
    if table.empty:
        axes.text(0.5, 0.5, "no error on these images", transform=axes.transAxes, ha="center", color=RIGHT)
        axes.set(xticks=[], yticks=[])
        return save(figure, path)
    names = [f"{readable(row.label)}  taken for  {readable(row.answer)}" for row in table.itertuples()]
    bars = axes.barh(names, table["images"], color=WRONG, height=0.62)
    texts = [f"{row.images}  ({percent(row.share)} of {readable(row.label)})" for row in table.itertuples()]
    axes.bar_label(bars, texts, padding=4, fontsize=8.5, color=INK)
    axes.set_xlim(0, table["images"].max() * 1.5)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(False, axis="y")
    return save(figure, path)


def recall_per_class(per_class: pd.DataFrame, path: Path) -> Path:
    """Bars of recall with its interval, the lowest at the bottom; columns of `metrics.per_class_table`."""
    table = per_class.sort_values("recall", ascending=True, na_position="first")
    total, table = int(table["images"].sum()), table.head(MOST_BARS)
    figure = new_figure(8, 1.3 + 0.38 * max(len(table), 2))
    axes = figure.subplots()
    what = "each class" if len(table) == len(per_class) else f"the {MOST_BARS} worst of {len(per_class):,} classes"
    label_axes(axes, f"Recall of {what}, with interval (n = {total:,})", "recall")
    recall, places = table["recall"].fillna(0).to_numpy(), range(len(table))
    axes.set_yticks(places, [readable(label) for label in table["label"]])
    axes.barh(places, recall, color=BLUE, height=0.62, alpha=0.85)
    spread = np.vstack([recall - table["recall_low"], table["recall_high"] - recall])
    axes.errorbar(recall, places, xerr=np.nan_to_num(spread).clip(0), fmt="none", ecolor=INK, elinewidth=1.3, capsize=3)
    for place, row in enumerate(table.itertuples()):
        text = f"{row.recall:.2f}   n = {row.images}" if row.images else "no image"
        axes.text(1.02, place, text, va="center", fontsize=8.5, color=INK)
    axes.set(xlim=(0, 1.2), xticks=np.linspace(0, 1, 6))
    axes.grid(False, axis="y")
    return save(figure, path)


def training_curves(history: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Loss, validation scores and learning rate by epoch; a line where a stage begins.

    history: records in order, with `stage`, `lr`, `train_loss` and any `val_*`. `val_loss` joins the losses.
    """
    table = pd.DataFrame(list(history))
    figure = new_figure(11, 3.7)
    parts, epochs = figure.subplots(1, 3, width_ratios=[1.2, 1.2, 0.8]), np.arange(1, len(table) + 1)
    scores = [name for name in ("val_macro_f1", "val_accuracy") if name in table]
    scores = scores or [name for name in table if str(name).startswith("val_") and name != "val_loss"][:3]
    _lines(parts[0], table, epochs, {"train_loss": "training", "val_loss": "validation"})
    _lines(parts[1], table, epochs, {name: readable(name.removeprefix("val_")) for name in scores})
    _lines(parts[2], table, epochs, {"lr": ""})
    for axes, title in zip(parts, ("Loss", "Validation score", "Learning rate"), strict=True):
        label_axes(axes, title, "epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        _mark_stages(axes, table, named=axes is parts[0])
    if scores:
        _mark_best(parts[1], epochs, table[scores[0]])
    if (table.get("lr", pd.Series([0.0])) > 0).all():
        parts[2].set_yscale("log")
    return save(figure, path)


def _lines(axes: Any, table: pd.DataFrame, epochs: np.ndarray, columns: Mapping[str, str]) -> None:
    marker = "o" if len(table) <= 30 else ""
    for (name, text), colour, dash in zip(columns.items(), (BLUE, ORANGE, GREY), ("-", "--", ":"), strict=False):
        if name in table and table[name].notna().any():
            axes.plot(epochs, table[name], dash, color=colour, marker=marker, markersize=3.5, linewidth=1.8, label=text)
    if any(columns.values()) and axes.lines:
        axes.legend(fontsize=8.5, frameon=False)


def _mark_stages(axes: Any, table: pd.DataFrame, named: bool) -> None:
    if "stage" not in table or table["stage"].nunique() < 2:
        return
    starts = np.flatnonzero(table["stage"] != table["stage"].shift())
    for start in starts:
        if start:
            axes.axvline(start + 0.5, color=GREY, linewidth=1, linestyle=(0, (3, 3)))
        if named:
            place = axes.get_xaxis_transform()
            text = f" {readable(table['stage'].iloc[start])}"
            axes.text(start + (0.5 if start else 0.6), 0.02, text, transform=place, fontsize=8, color="#5B626B")


def _mark_best(axes: Any, epochs: np.ndarray, values: pd.Series) -> None:
    best = int(np.nanargmax(values.to_numpy(float)))
    axes.plot(
        epochs[best], values.iloc[best], "o", markersize=9, markerfacecolor="none", color=RIGHT, markeredgewidth=2
    )
    text = f"best {values.iloc[best]:.3f}, epoch {epochs[best]}"
    axes.text(0.98, 0.04, text, transform=axes.transAxes, ha="right", fontsize=8.5, color=RIGHT, fontweight="bold")


def group_colours(labels: Sequence[str]) -> list[str]:
    """A colour a label by its group, where labels are named as `tomato_late_blight` is: by their first word.

    Only where that says something: two groups at least, and on average two labels a group. Else all have INK.
    """
    words = [re.split(_FIRST_WORD, str(label))[0] for label in labels]
    groups = sorted(set(words))
    if len(groups) < 2 or 2 * len(groups) > len(labels):
        return [INK] * len(labels)
    return [MANY[groups.index(word) % len(MANY)] for word in words]


def class_distribution(splits: pd.DataFrame, path: Path) -> Path:
    """Images of each class by split, stacked. splits: columns label and split; rows in no split are left out."""
    counts = splits.dropna(subset="split").groupby(["label", "split"]).size().unstack(fill_value=0)
    counts = counts.reindex(columns=[name for name in SPLIT_COLOURS if name in counts])
    counts = counts.loc[counts.sum(axis=1).sort_values(kind="stable").index]
    total, classes = counts.sum(), len(counts)
    what = "each class"
    if classes > MOST_BARS:
        half = MOST_BARS // 2
        counts = pd.concat([counts.head(half), counts.tail(half)])
        what = f"the {half} smallest and {half} largest of {classes:,} classes"
    if counts.size and group_colours(list(counts.index))[0] != INK:  # of each group together, the smallest class first
        counts = counts.sort_index(
            key=lambda labels: labels.str.split(_FIRST_WORD).str[0], kind="stable", ascending=False
        )
    figure = new_figure(8, 1.5 + 0.4 * max(len(counts), 2))
    axes, left = figure.subplots(), np.zeros(len(counts))
    label_axes(axes, f"Images of {what}, by split (n = {int(total.sum()):,})", "images")
    axes.set_yticks(range(len(counts)), [readable(label) for label in counts.index])
    for tick, colour in zip(axes.get_yticklabels(), group_colours(list(counts.index)), strict=True):
        tick.set(color=colour, fontweight="normal" if colour == INK else "bold")
    for split in counts.columns:
        text = f"{split} ({int(total[split]):,})"
        axes.barh(range(len(counts)), counts[split], left=left, color=SPLIT_COLOURS[split], height=0.62, label=text)
        left += counts[split].to_numpy()
    for place, total in enumerate(left):
        axes.text(total, place, f"  {int(total):,}", va="center", fontsize=8.5, color=INK)
    axes.margins(x=0.09)
    axes.grid(False, axis="y")
    figure.legend(loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    return save(figure, path)
