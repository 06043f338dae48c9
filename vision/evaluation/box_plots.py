"""Precision against recall of every class, from its surest box on."""

from pathlib import Path

import pandas as pd

from vision.evaluation.box_matches import OVERLAP, Matches, curve
from vision.evaluation.style import GREY, INK, MANY, label_axes, new_figure, readable, save

MOST_CURVES = 10


def precision_recall(matches: Matches, per_class: pd.DataFrame, threshold: float, path: Path) -> Path:
    """A curve a class, of the `MOST_CURVES` with the most true boxes; a dot where the package's threshold cuts it."""
    figure = new_figure(8.6, 4.6)
    axes = figure.subplots()
    boxes = int(matches.wanted.sum())
    label_axes(axes, f"Precision by recall, overlap {OVERLAP:g} (n = {boxes:,} boxes)", "recall", "precision")
    shown = per_class.assign(number=range(len(per_class))).sort_values("boxes", ascending=False, kind="stable")
    for colour, row in zip(MANY, shown.head(MOST_CURVES).itertuples(), strict=False):
        recall, precision = curve(matches, row.number)
        name = f"{readable(row.label)}  {row.ap50:.2f}" if row.boxes else f"{readable(row.label)}  no box"
        axes.plot(recall, precision, color=colour, linewidth=1.8, label=name)
        above = int((matches.scores[matches.classes == row.number] >= threshold).sum())
        if above:
            axes.plot(recall[above - 1], precision[above - 1], "o", color=colour, markeredgecolor=INK, markersize=6)
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
    legend = axes.legend(fontsize=8.5, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    legend.set_title(f"average precision\ndots: score {threshold:.2f}", prop={"size": 8.5})
    axes.plot([0, 1], [1, 1], color=GREY, linewidth=0.6)
    return save(figure, path)
