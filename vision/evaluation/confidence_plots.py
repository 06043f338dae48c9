"""Charts of confidence: is it calibrated, and what does a threshold cost and save?"""

from pathlib import Path

import numpy as np
import pandas as pd

from vision.evaluation.calibration import BINS, expected_calibration_error, reliability_bins, threshold_table
from vision.evaluation.style import BLUE, GREY, INK, ORANGE, RIGHT, WRONG, label_axes, new_figure, percent, save


def reliability(rows: pd.DataFrame, path: Path) -> Path:
    """Accuracy of each confidence bin against the confidence, above a histogram of right and wrong answers."""
    confidence, right = rows["confidence"].to_numpy(), rows["right"].to_numpy(bool)
    bins = reliability_bins(confidence, right)
    figure = new_figure(6.4, 6.4)
    above, below = figure.subplots(2, 1, height_ratios=[2.2, 1], sharex=True)
    ece = expected_calibration_error(confidence, right)
    label_axes(above, f"Does the confidence hold? ECE {ece:.3f}, {BINS} bins, n = {len(rows):,}", "", "share right")
    full = bins[bins["images"] > 0]
    middle = (full["low"] + full["high"]) / 2
    above.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1.3, label="perfectly calibrated")
    above.bar(middle, full["accuracy"], width=1 / BINS * 0.9, color=BLUE, alpha=0.3)
    sizes = 20 + 180 * full["images"] / full["images"].max()
    above.scatter(full["confidence"], full["accuracy"], s=sizes, color=BLUE, zorder=3, label="a bin (area: images)")
    above.set(xlim=(0, 1.02), ylim=(0, 1.05))
    above.legend(fontsize=8.5, frameon=False, loc="upper left")
    label_axes(below, "", "confidence (calibrated probability of the answer)", "images")
    groups, colours = [confidence[right], confidence[~right]], [RIGHT, WRONG]
    texts = [f"right ({right.sum():,})", f"wrong ({(~right).sum():,})"]
    below.hist(groups, bins=np.linspace(0, 1, BINS + 1), stacked=True, color=colours, label=texts, rwidth=0.9)
    below.legend(fontsize=8.5, frameon=False, loc="upper left")
    return save(figure, path)


def confidence_threshold(rows: pd.DataFrame, confident_at: float, path: Path) -> Path:
    """Accuracy of the confident answers, their share, and the errors held back, by threshold; `confident_at` is
    marked."""
    confidence, right = rows["confidence"].to_numpy(), rows["right"].to_numpy(bool)
    table = threshold_table(confidence, right)
    at = threshold_table(confidence, right, np.array([confident_at])).iloc[0]
    figure = new_figure(7.6, 4.6)
    axes = figure.subplots()
    title = f"What a threshold costs and saves (n = {len(rows):,})\n{_in_words(at, right)}"
    label_axes(axes, title, "answer counts as confident from", "share")
    axes.plot(table["threshold"], table["accuracy"], color=RIGHT, linewidth=2.2, label="right, of confident answers")
    axes.plot(table["threshold"], table["coverage"], "--", color=BLUE, linewidth=2, label="answers that are confident")
    axes.plot(table["threshold"], table["errors_caught"], ":", color=WRONG, linewidth=2.4, label="errors held back")
    axes.axvline(confident_at, color=ORANGE, linewidth=1.6)
    axes.text(confident_at, 1.045, f"{confident_at:.2f}", color=INK, fontsize=8.5, ha="center")
    axes.set(xlim=(0, 1), ylim=(0, 1.1))
    axes.set_yticks(np.linspace(0, 1, 6), [percent(share) for share in np.linspace(0, 1, 6)])
    figure.legend(loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    return save(figure, path)


def _in_words(at: pd.Series, right: np.ndarray) -> str:
    if np.isnan(at["accuracy"]):
        return f"no answer reaches {at['threshold']:.2f}"
    held = "there is no error" if right.all() else f"{percent(at['errors_caught'])} of the errors are held back"
    return (
        f"at {at['threshold']:.2f}: {percent(at['coverage'])} answered, {percent(at['accuracy'])} of them right; {held}"
    )
