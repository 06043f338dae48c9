"""Pictures of an anomaly detector: its scores with the threshold, its ROC curve, its heat over the images."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vision.data.boxes.geometry import NORMAL
from vision.evaluation.galleries import picture_grid
from vision.evaluation.style import BLUE, GREY, INK, ORANGE, RIGHT, WRONG, label_axes, new_figure, percent, save
from vision.explain.overlay import overlay
from vision.kinds.anomaly import shown_heat

if TYPE_CHECKING:
    from vision.data.cache import Crops

BINS = 30


def score_histogram(rows: pd.DataFrame, path: Path) -> Path:
    """rows: label, score."""
    figure = new_figure(8, 4)
    axes, scores = figure.subplots(), np.log10(np.maximum(rows["score"], 1e-3))
    edges, normal = np.linspace(scores.min() - 1e-6, scores.max() + 1e-6, BINS + 1), rows["label"] == NORMAL
    for part, colour, name in ((normal, BLUE, "normal"), (~normal, ORANGE, "defect")):
        label = f"{name} (n = {int(part.sum())})"
        axes.hist(10 ** scores[part], bins=10**edges, color=colour, alpha=0.65, label=label)
    axes.axvline(1.0, color=INK, linewidth=1.5, linestyle=(0, (4, 3)), label="threshold")
    axes.set_xscale("log")
    ticks = [
        value for value in (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20) if 10 ** edges[0] <= value <= 10 ** edges[-1]
    ]
    axes.set_xticks(ticks, [f"{value:g}" for value in ticks])
    axes.minorticks_off()
    axes.legend(fontsize=9, frameon=False)
    label_axes(axes, "Distance from all normal images", "score (1 is the threshold)", "images")
    return save(figure, path)


def roc(rows: pd.DataFrame, metrics: Mapping[str, float], path: Path) -> Path:
    """rows: label, score. The point is the threshold that was set."""
    from sklearn.metrics import roc_curve

    figure, defect = new_figure(5.2, 5), (rows["label"] != NORMAL).to_numpy()
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (3, 3)))
    if defect.any() and not defect.all():
        alarms, found, _ = roc_curve(defect, rows["score"])
        axes.plot(alarms, found, color=BLUE, linewidth=2)
    at = (metrics["false_alarm_rate"], metrics["recall_defect"])
    axes.plot(
        *at, "o", color=ORANGE, markersize=9, label=f"threshold: {percent(at[1])} found, {percent(at[0])} false alarms"
    )
    axes.legend(fontsize=9, frameon=False, loc="lower right")
    area = f"{metrics['auroc']:.3f} ({metrics['auroc_low']:.3f} to {metrics['auroc_high']:.3f})"
    label_axes(axes, f"ROC, area {area}", "normal images called defects", "defects found")
    return save(figure, path)


def heat_grid(rows: pd.DataFrame, heat: np.ndarray, images: "np.ndarray | Crops", path: Path, grid_images: int) -> Path:
    """Missed defects and false alarms first, then defects and normal images in turn, each under its heat."""
    picked = _picked(rows, grid_images)
    shown = rows.iloc[picked]
    pictures = [
        overlay(image, shown_heat(one), peak=1.0) for image, one in zip(images[picked], heat[picked], strict=True)
    ]
    titles = [
        f"{row.label}, {row.score:.2f}\n{'right' if row.right else 'MISSED' if row.label != NORMAL else 'FALSE ALARM'}"
        for row in shown.itertuples()
    ]
    colours = [RIGHT if right else WRONG for right in shown["right"]]
    title = f"Heat over {len(shown)} of {len(rows):,} images; errors first. Red: twice the threshold or more"
    return picture_grid(pictures, titles, colours, title, path)


def _picked(rows: pd.DataFrame, count: int) -> np.ndarray:
    """int [n]: at most half of them errors, the worst first."""
    scores, right = rows["score"].to_numpy(), rows["right"].to_numpy(bool)
    wrong = np.flatnonzero(~right)
    wrong = wrong[np.argsort(-np.abs(np.log(np.maximum(scores[wrong], 1e-6))), kind="stable")][: count // 2]
    rest = rows[right].assign(place=np.flatnonzero(right)).sample(frac=1, random_state=0)
    turn = rest.groupby("label").cumcount()
    others = rest.assign(turn=turn).sort_values(["turn", "label"])["place"].to_numpy()
    return np.concatenate([wrong, others[: count - len(wrong)]])
