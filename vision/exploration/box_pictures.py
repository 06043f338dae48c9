"""Pictures of a data set's boxes: how many, how large, where, and on the photographs themselves."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from vision.evaluation.galleries import picture_grid, thumbnail
from vision.evaluation.style import BLUE, INK, MANY, SPLIT_COLOURS, label_axes, new_figure, readable, save
from vision.exploration.pictures import MARKERS

CELLS = 24
TICKS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
MOST_CLASSES = 24


def box_counts(table: pd.DataFrame, per_image: Sequence[int], path: Path) -> Path:
    """Left the boxes of each class by split, stacked; right how many boxes an image has. per_image: of every image."""
    counts = table.dropna(subset="split").groupby(["label", "split"]).size().unstack(fill_value=0)
    counts = counts.reindex(columns=[name for name in SPLIT_COLOURS if name in counts])
    counts = counts.loc[counts.sum(axis=1).sort_values(kind="stable").index].tail(MOST_CLASSES)
    figure = new_figure(11, 1.6 + 0.36 * max(len(counts), 4))
    bars, histogram = figure.subplots(1, 2, width_ratios=(3, 2))
    label_axes(bars, f"Boxes of each class, by split (n = {len(table):,})", "boxes")
    left = np.zeros(len(counts))
    for split in counts.columns:
        words = f"{split} ({int(counts[split].sum()):,})"
        bars.barh(range(len(counts)), counts[split], left=left, color=SPLIT_COLOURS[split], height=0.62, label=words)
        left += counts[split].to_numpy()
    bars.set_yticks(range(len(counts)), [readable(label) for label in counts.index])
    for place, total in enumerate(left):
        bars.text(total, place, f" {int(total):,}", va="center", fontsize=9, color=INK)
    bars.margins(x=0.12)
    figure.legend(*bars.get_legend_handles_labels(), loc="outside lower left", ncols=3, fontsize=9, frameon=False)
    label_axes(histogram, f"Boxes on an image (n = {len(per_image):,} images)", "boxes", "images")
    most = max(per_image, default=0)
    numbers = np.bincount(np.minimum(per_image, 20), minlength=min(most, 20) + 1)
    histogram.bar(range(len(numbers)), numbers, color=BLUE, width=0.8)
    step = max(1, len(numbers) // 10)
    ticks = list(range(0, len(numbers), step))
    histogram.set_xticks(ticks, ["20+" if tick == 20 and most > 20 else str(tick) for tick in ticks])
    return save(figure, path)


def box_sizes(table: pd.DataFrame, path: Path) -> Path:
    """Width against height of each box, as shares of its image, both axes logarithmic; each class in its
    colour, and from the eleventh on in another form."""
    figure = new_figure(11, 5.0)
    sizes, places = figure.subplots(1, 2)
    label_axes(sizes, "How large boxes are", "width, share of the image's", "height, share of the image's")
    for place, (label, boxes) in enumerate(_by_class(table)):
        words = f"{readable(label)} ({len(boxes):,})"
        sizes.scatter(
            boxes["wide"],
            boxes["high"],
            s=14,
            color=MANY[place % len(MANY)],
            marker=MARKERS[place // len(MANY) % len(MARKERS)],
            alpha=0.55,
            linewidths=0,
            label=words,
        )
    low = max(0.003, 0.8 * float(table[["wide", "high"]].min().min()))
    sizes.set(xscale="log", yscale="log", xlim=(low, 1.15), ylim=(low, 1.15), aspect="equal")
    ticks = [tick for tick in TICKS if tick >= low]
    for axis in (sizes.xaxis, sizes.yaxis):
        axis.set_minor_locator(_none())
        axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
    _places(table, places)
    figure.legend(*sizes.get_legend_handles_labels(), loc="outside lower left", ncols=5, fontsize=8.5, frameon=False)
    return save(figure, path)


def _places(table: pd.DataFrame, axes) -> None:
    """How many boxes cover each part of the image, as it lies before the camera."""
    cover = np.zeros((CELLS, CELLS))
    low = ((table[["x", "y"]].to_numpy() - table[["wide", "high"]].to_numpy() / 2) * CELLS).clip(0, CELLS - 1)
    high = ((table[["x", "y"]].to_numpy() + table[["wide", "high"]].to_numpy() / 2) * CELLS).clip(0, CELLS)
    for (left, top), (right, bottom) in zip(low.astype(int), np.ceil(high).astype(int), strict=True):
        cover[top : max(bottom, top + 1), left : max(right, left + 1)] += 1
    label_axes(axes, "Where they lie", "left to right", "top to bottom")
    axes.grid(False)
    shown = axes.imshow(cover, cmap="Blues", vmin=0, extent=(0, 1, 1, 0), interpolation="nearest")
    axes.set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    bar = axes.figure.colorbar(shown, ax=axes, shrink=0.8)
    bar.set_label("boxes that cover the place", fontsize=9, color=INK)
    bar.ax.tick_params(labelsize=8.5, colors=INK, length=0)
    bar.outline.set_visible(False)


def boxed_grid(rows: pd.DataFrame, root: Path, title: str, path: Path, columns: int = 5) -> Path:
    """Photographs with their boxes. rows: manifest rows. Each label has the colour that it has in `box_sizes`."""
    from vision.data.boxes.geometry import boxes_of

    boxes = [boxes_of(value) for value in rows["boxes"]]
    images, titles = [], []
    for row, own in zip(rows.itertuples(), boxes, strict=True):
        images.append(
            _outlined(thumbnail(root / row.path, 280), own, (row.width_px, row.height_px), rows.attrs["labels"])
        )
        names = sorted({readable(box.label) for box in own})
        more = f" +{len(names) - 2}" if len(names) > 2 else ""
        titles.append("\n".join(names[:2]) + more if names else "no defect")
    return picture_grid(images, titles, [INK] * len(images), title, path, columns=columns)


def _outlined(image: np.ndarray, boxes: Sequence, size_px: tuple[float, float], labels: Sequence[str]) -> np.ndarray:
    """uint8 [H, W, 3] with the boxes drawn on, white below the colour, so that they show on any ground."""
    from PIL import Image, ImageDraw

    picture = Image.fromarray(image)
    scale = picture.width / size_px[0], picture.height / size_px[1]
    canvas = ImageDraw.Draw(picture)
    for box in boxes:
        x1, y1, x2, y2 = (side * scale[place % 2] for place, side in enumerate(box[1:]))
        sides = (x1 - 2, y1 - 2, max(x1 + 1, x2 + 1), max(y1 + 1, y2 + 1))
        canvas.rectangle(sides, outline="white", width=4)
        colour = MANY[labels.index(box.label) % len(MANY)] if box.label in labels else INK
        canvas.rectangle((sides[0] + 1, sides[1] + 1, sides[2] - 1, sides[3] - 1), outline=colour, width=2)
    return np.asarray(picture)


def _by_class(table: pd.DataFrame):
    return [(label, table[table["label"] == label]) for label in class_order(table)]


def class_order(table: pd.DataFrame) -> list[str]:
    """Classes by their boxes, most first; ties by name."""
    counts = table["label"].value_counts()
    return sorted(counts.index, key=lambda label: (-counts[label], label))


def _none():
    from matplotlib.ticker import NullLocator

    return NullLocator()
