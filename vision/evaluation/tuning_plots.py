"""A search in one picture: parallel coordinates, a line a trial."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vision.evaluation.style import GREY, INK, ORANGE, new_figure, readable, save

DECADE = 10
FEW = 4
FAINT, CLEAR = 0.35, 0.95


def parallel_coordinates(trials: pd.DataFrame, settings: Sequence[str], score: str, path: Path) -> Path:
    """trials: a column for each of `settings` and for `score`, one row a trial; the first row is the config's own, rows
    without a score are left out. An axis is logarithmic when it spans a decade; words stand in their order."""
    import matplotlib

    shown = trials[trials[score].notna()].reset_index(drop=True)
    names = [*settings, score]
    axes_of = {name: _axis(shown[name]) for name in names}
    figure = new_figure(max(5.5, 1.7 * len(names)), 4.2)
    axes = figure.add_subplot()
    colours = matplotlib.colormaps["viridis_r"]
    places = pd.DataFrame({name: [place(value) for value in shown[name]] for name, (place, _) in axes_of.items()})
    best = int(shown[score].astype(float).idxmax())
    for number in places[score].sort_values(kind="stable").index:
        colour, width = (ORANGE, 2.6) if number == best else (colours(places.loc[number, score]), 1.2)
        alpha = CLEAR if number == best else FAINT + (CLEAR - FAINT) * places.loc[number, score]
        style = "-"
        if number == 0 and best != 0:
            style, colour, width, alpha = "--", INK, 1.8, CLEAR
        axes.plot(range(len(names)), places.loc[number], style, color=colour, linewidth=width, alpha=alpha)
    _furnish(axes, names, axes_of)
    own = "the best is the config's own" if best == 0 else "the config's own is dashed"
    axes.set_title(
        f"Trials by their settings; the best in orange, {own}", loc="left", fontsize=11, fontweight="bold", color=INK
    )
    return save(figure, path)


def _furnish(axes: Any, names: list[str], axes_of: dict[str, Any]) -> None:
    for at, name in enumerate(names):
        axes.axvline(at, color=GREY, linewidth=0.9)
        for place, text in axes_of[name][1]:
            axes.annotate(text, (at, place), xytext=(4, 0), textcoords="offset points", fontsize=8, color=INK, va="center",
                          bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.8})  # fmt: skip
    labels = [readable(name.removeprefix("training.")).replace(".", "\n") for name in names]
    axes.set_xticks(range(len(names)), labels, fontsize=9, color=INK)
    axes.set_xlim(-0.15, len(names) - 0.55)
    axes.set_ylim(-0.06, 1.06)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _axis(values: pd.Series) -> tuple[Any, list[tuple[float, str]]]:
    """(value -> place in 0..1, marks). A column of one value stands in the middle."""
    if values.map(lambda value: isinstance(value, str | bool)).any():
        words = sorted(values.map(str).unique())
        at = {word: (n / (len(words) - 1) if len(words) > 1 else 0.5) for n, word in enumerate(words)}
        return lambda value: at[str(value)], [(place, readable(word, 12)) for word, place in at.items()]
    low, high = float(values.min()), float(values.max())
    if low == high:
        return lambda value: 0.5, [(0.5, f"{low:.3g}")]
    scale = math.log if low > 0 and high / low >= DECADE else float
    start, length = scale(low), scale(high) - scale(low)

    def place(value: float) -> float:
        return (scale(float(value)) - start) / length

    middle = math.exp(start + length / 2) if scale is math.log else low + (high - low) / 2
    few = sorted(values.unique()) if values.nunique() <= FEW else (low, middle, high)
    return place, [(place(value), f"{value:.3g}") for value in few]
