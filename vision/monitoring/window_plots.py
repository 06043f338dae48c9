"""Pictures of one window beside the reference: what moved, how far, and how the last windows went."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vision.evaluation.style import BLUE, GREY, INK, ORANGE, WRONG, label_axes, new_figure, percent, readable, save
from vision.monitoring.columns import pairs
from vision.monitoring.drift import ColumnTest, DriftResult

MOST_SHOWN = 6
"""Columns whose values are drawn."""
MOST_CLASSES = 30
MOST_DOTS = 800
LEAST_P = 1e-4
BINS = 24


def draw_window(
    reference: pd.DataFrame,
    window: pd.DataFrame,
    drift: DriftResult,
    smallest: Mapping[str, float],
    folder: Path,
) -> list[tuple[Path, str]]:
    """PNG files in `folder` with their captions, the most telling first. smallest: column -> shift that would be found."""
    found = {pair.name: pair for pair in pairs(reference, window)}
    tests = sorted((test for test in drift.tests if test.p_value < 1 or test.effect), key=lambda test: test.p_corrected)
    drawn = [(_effects(tests, smallest, folder / "effects.png"), "How far each column moved, and what would be found")]
    numbers = [found[test.name] for test in tests if test.kind == "number"][:MOST_SHOWN]
    if numbers:
        drawn.append((_values(numbers, folder / "values.png"), "The columns that changed most: reference and window"))
    for pair in [found[test.name] for test in tests if test.kind == "category"][:1]:
        drawn.append((_shares(pair, folder / "shares.png"), f"{readable(pair.name)}: shares in reference and window"))
    for pair in [found[test.name] for test in tests if test.kind == "embedding"][:1]:
        drawn.append(
            (_scatter(pair, folder / "embedding.png"), "Embedding, first two principal components of the reference")
        )
    return drawn


def draw_history(windows: Sequence[Mapping[str, Any]], alpha: float, path: Path) -> Path:
    """windows: `no`, `p_value`, `changed`, `alarm` of each, oldest first."""
    figure = new_figure(8, 2.8)
    axes = figure.subplots()
    label_axes(axes, f"The last {len(windows)} windows of this model", "window", "p-value, corrected")
    numbers = [row["no"] for row in windows]
    values = [max(row["p_value"], LEAST_P) for row in windows]
    axes.plot(numbers, values, color=GREY, linewidth=1)
    for number, value, row in zip(numbers, values, windows, strict=True):
        colour = WRONG if row["changed"] else BLUE
        axes.plot(number, value, "o", markersize=9, color=colour, mfc=colour if row["changed"] else "white")
        if row["alarm"]:
            axes.annotate(
                "alarm", (number, value), xytext=(0, 9), textcoords="offset points", ha="center", fontsize=8.5
            )
    axes.axhline(alpha, color=WRONG, linestyle="--", linewidth=1)
    axes.set(yscale="log", ylim=(LEAST_P / 2, 1.6), xlim=(numbers[0] - 0.5, numbers[-1] + 0.5))
    axes.xaxis.get_major_locator().set_params(integer=True)
    return save(figure, path)


def _effects(tests: Sequence[ColumnTest], smallest: Mapping[str, float], path: Path) -> Path:
    figure = new_figure(8, 1.5 + 0.32 * max(len(tests), 2))
    axes = figure.subplots()
    label_axes(
        axes,
        "How far each column moved",
        "shift: standard deviations (numbers), Cramér's V (categories), MMD (embedding)",
    )
    rows = list(reversed(tests))
    places = range(len(rows))
    sizes = [abs(test.effect) for test in rows]
    axes.set_yticks(places, [readable(test.name) for test in rows])
    axes.barh(places, sizes, color=[WRONG if test.drifted else SOFT for test in rows], height=0.62)
    for place, test in zip(places, rows, strict=True):
        axes.text(abs(test.effect), place, f"  p = {test.p_corrected:.2g}", va="center", fontsize=8.5, color=INK)
        if smallest.get(test.name):
            axes.plot([smallest[test.name]] * 2, [place - 0.4, place + 0.4], color=BLUE, linewidth=2)
    if any(smallest.get(test.name) for test in rows):
        axes.plot([], [], color=BLUE, linewidth=2, label="smallest shift that is found at this size")
        figure.legend(loc="outside lower center", fontsize=9, frameon=False)
    axes.set_xlim(0, 1.25 * max([*sizes, *smallest.values(), 0.1]))
    axes.grid(False, axis="y")
    return save(figure, path)


SOFT = "#C3D4E2"


def _values(shown: Sequence[Any], path: Path) -> Path:
    rows = -(-len(shown) // 3)
    figure = new_figure(10.5, 0.4 + 2.4 * rows)
    grid = np.atleast_2d(figure.subplots(rows, 3))
    for axes in grid.flat[len(shown) :]:
        axes.set_axis_off()
    for number, (axes, pair) in enumerate(zip(grid.flat, shown, strict=False)):
        label_axes(axes, readable(pair.name))
        low, high = np.nanquantile(np.concatenate([pair.reference, pair.window]), [0.002, 0.998])
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
        for values, colour, name in ((pair.reference, BLUE, "reference"), (pair.window, ORANGE, "window")):
            weights = np.full(len(values), 1 / max(len(values), 1))
            text = f"{name} ({len(values):,})" if number == 0 else None
            axes.hist(values, edges, weights=weights, color=colour, alpha=0.35, label=text)
            axes.hist(values, edges, weights=weights, color=colour, histtype="step", linewidth=1.4)
        axes.set_yticks([])
    figure.legend(loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    return save(figure, path)


def _shares(pair: Any, path: Path) -> Path:
    counts = pd.DataFrame({
        "reference": pd.Series(pair.reference).value_counts(normalize=True),
        "window": pd.Series(pair.window).value_counts(normalize=True),
    }).fillna(0.0)  # fmt: skip
    gap = (counts["window"] - counts["reference"]).abs()
    counts = counts.loc[gap.sort_values().index[-MOST_CLASSES:]]
    figure = new_figure(8, 1.4 + 0.5 * max(len(counts), 2))
    axes, places = figure.subplots(), np.arange(len(counts))
    label_axes(axes, f"Shares of {readable(pair.name)}", "share")
    axes.set_yticks(places, [readable(name) for name in counts.index])
    for shift, name, colour in ((0.2, "reference", BLUE), (-0.2, "window", ORANGE)):
        size = len(pair.reference if name == "reference" else pair.window)
        bars = axes.barh(places + shift, counts[name], height=0.38, color=colour, label=f"{name} ({size:,})")
        axes.bar_label(bars, [percent(share) for share in counts[name]], padding=3, fontsize=8, color=INK)
    axes.margins(x=0.12)
    axes.grid(False, axis="y")
    figure.legend(loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    return save(figure, path)


def _scatter(pair: Any, path: Path) -> Path:
    """Of at most MOST_DOTS rows of each."""
    mean = pair.reference.mean(axis=0)
    _, _, axes_of = np.linalg.svd(pair.reference - mean, full_matrices=False)
    figure = new_figure(5.6, 4.8)
    axes = figure.subplots()
    label_axes(axes, "What the model sees: embedding", "component 1", "component 2")
    rng = np.random.default_rng(0)
    for values, colour, name in ((pair.reference, BLUE, "reference"), (pair.window, ORANGE, "window")):
        size = len(values)
        if size > MOST_DOTS:
            values = values[rng.choice(size, MOST_DOTS, replace=False)]
        dots = (values - mean) @ axes_of[:2].T
        axes.scatter(*dots.T, s=11, color=colour, alpha=0.5, linewidths=0, label=f"{name} ({size:,})")
    axes.set(xticks=[], yticks=[])
    axes.legend(fontsize=9, frameon=False, markerscale=2)
    return save(figure, path)
