"""Pictures of a data set: its spread, its strangest images, its copies, a map."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from vision.evaluation.galleries import picture_grid, thumbnail
from vision.evaluation.style import BLUE, GREY, INK, MANY, WRONG, label_axes, new_figure, readable, save

SPREADS = ("brightness", "contrast", "sharpness", "saturation", "greenness", "megapixels")
MOST_LABELS = 20
MARKERS = "osD^vP*X<>"
EXTREMES = {"darkest": ("brightness", True), "brightest": ("brightness", False), "most blurred": ("sharpness", True),
            "smallest": ("pixels", True), "largest": ("pixels", False)}  # fmt: skip


def spreads(rows: pd.DataFrame, path: Path) -> Path:
    """Of each label, the middle 90 % and the median of six features; the labels with the most images."""
    rows = rows.assign(megapixels=rows["width_px"] * rows["height_px"] / 1e6)
    labels = sorted(rows["label"].value_counts().index[:MOST_LABELS], reverse=True)
    features = [feature for feature in SPREADS if rows[feature].nunique() > 1]
    lines = max(1, -(-len(features) // 3))
    figure = new_figure(11, 0.6 + lines * (0.7 + max(0.9, 0.26 * len(labels))))
    grid = figure.subplots(lines, 3, sharey=True, squeeze=False).ravel()
    for axes in grid[len(features) :]:
        axes.axis("off")
    for axes, feature in zip(grid, features, strict=False):
        label_axes(axes, feature)
        cuts = rows.groupby("label")[feature].quantile([0.05, 0.25, 0.5, 0.75, 0.95]).unstack().loc[labels]
        places = np.arange(len(labels))
        axes.hlines(places, cuts[0.05], cuts[0.95], color=GREY, linewidth=2)
        axes.hlines(places, cuts[0.25], cuts[0.75], color=BLUE, linewidth=7)
        axes.plot(cuts[0.5], places, "o", color="white", markeredgecolor=INK, markersize=6)
        axes.set_yticks(places, [readable(label) for label in labels])
        axes.margins(y=0.12)
        axes.xaxis.get_major_locator().set_params(nbins=5)
    words = f"Spread by class: line the middle 90 %, bar the middle half, dot the median (n = {len(rows):,})"
    figure.suptitle(words, fontsize=11, fontweight="bold", color=INK, x=0.01, ha="left")
    return save(figure, path)


def extremes(rows: pd.DataFrame, root: Path, path: Path, each: int = 5) -> Path:
    """The strangest images by light, sharpness and size: where mistakes in the data stand first."""
    table = rows.assign(pixels=rows["width_px"] * rows["height_px"])
    pictures, titles = [], []
    for name, (feature, ascending) in EXTREMES.items():
        if table[feature].nunique() < 2:
            continue
        for row in table.sort_values([feature, "path"], ascending=[ascending, True]).head(each).to_dict("records"):
            value = f"{row['width_px']:.0f} x {row['height_px']:.0f}" if feature == "pixels" else f"{row[feature]:.2f}"
            pictures.append(thumbnail(root / row["path"]))
            titles.append(f"{name}: {value}\n{readable(row['label'])}")
    title = f"The extremes: look for mistakes here first (of n = {len(rows):,})"
    return picture_grid(pictures, titles, [INK] * len(titles), title, path, columns=each)


def pair_grid(pairs: pd.DataFrame, root: Path, title: str, path: Path) -> Path:
    """Pairs side by side, two pairs a line. pairs: `first_` and `second_` path, label, and `words` of each pair."""
    pictures, titles, colours = [], [], []
    for row in pairs.to_dict("records"):
        colour = INK if row["first_label"] == row["second_label"] else WRONG
        for side in ("first", "second"):
            pictures.append(thumbnail(root / row[f"{side}_path"]))
            titles.append(
                f"{row['words']}\n{readable(row[f'{side}_label'])}\n{readable(Path(row[f'{side}_path']).name)}"
            )
            colours.append(colour)
    return picture_grid(pictures, titles, colours, title, path, columns=4)


def labelled_map(
    points: np.ndarray, labels: Sequence[str], title: str, path: Path, wrong: np.ndarray | None = None
) -> Path:
    """points: float [N, 2]. wrong: bool [N], ringed. From the eleventh label on they share one grey."""
    labels = np.asarray(labels, dtype=object)
    names = pd.Series(labels).value_counts().index
    figure = new_figure(9.2, 6.6)
    axes = figure.subplots()
    label_axes(axes, title)
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    size = float(np.clip(9000 / max(1, len(points)), 9, 42))
    rest = np.isin(labels, names[len(MANY) :])
    axes.scatter(
        *points[rest].T, s=size, color="#D4D7DB", label=f"{len(names) - len(MANY)} others" if rest.any() else None
    )
    for place, name in enumerate(sorted(names[: len(MANY)])):
        chosen = points[labels == name]
        text, marker = f"{readable(name)} ({len(chosen):,})", MARKERS[place % len(MARKERS)]
        axes.scatter(*chosen.T, s=size, color=MANY[place], marker=marker, alpha=0.75, linewidths=0, label=text)
    if wrong is not None and wrong.any():
        text = f"answered wrong ({int(wrong.sum()):,})"
        axes.scatter(*points[wrong].T, s=3.2 * size, facecolors="none", edgecolors=INK, linewidths=1.3, label=text)
    figure.legend(loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    return save(figure, path)
