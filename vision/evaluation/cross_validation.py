"""The figures of several folds as one: their mean with an interval, and all images together."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vision.evaluation.report import Part, Picture, Table
from vision.evaluation.style import BLUE, GREY, INK, label_axes, new_figure, save
from vision.settings import Section

RULE = (
    "Each image is tested on once, by the model of a fold that was trained on none of its family. The interval of the mean is "
    "Student's with Nadeau and Bengio's variance (2003), which counts that the folds share most of their training images; that "
    "of all images together is a bootstrap over families, and does not know that another training would give another model."
)


class Fold(Section):
    """One fold. metrics: those of its test split that are defined, with `<headline>_low`, `_high` (bootstrap over families)."""

    metrics: dict[str, float]
    trained: int
    tested: int
    epochs: int
    cpu_seconds: float


class Mean(Section):
    """Of one metric over folds; `low`, `high`: 95 %."""

    value: float
    low: float
    high: float


def mean_of(values: Sequence[float], trained: Sequence[int], tested: Sequence[int], level: float = 0.95) -> Mean:
    """Mean of k folds; variance s^2 (1/k + tested/trained) (Nadeau and Bengio 2003, Machine Learning 52:239), t of k - 1.

    Cut at 0 and 1, where shares end. Raises `ValueError` for fewer than two folds.
    """
    from scipy.stats import t

    count = len(values)
    if count < 2:
        raise ValueError(f"an interval takes two folds or more, got {count}")
    mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
    share = sum(tested) / sum(trained)
    half = float(t.ppf((1 + level) / 2, count - 1)) * deviation * math.sqrt(1 / count + share)
    return Mean(value=mean, low=max(0.0, mean - half), high=min(1.0, mean + half))


def folds_part(
    folds: Sequence[Fold], whole: dict[str, float], headline: str, names: Sequence[str], picture: Path
) -> Part:
    """whole: metrics of all images together, those that there are; names: of the table, the headline among them; picture:
    where the plot is drawn."""
    trained, tested = [fold.trained for fold in folds], [fold.tested for fold in folds]
    means = {name: mean_of([fold.metrics[name] for fold in folds], trained, tested) for name in names}
    rows = [
        (f"{number}", f"{fold.trained}", f"{fold.tested}", *(f"{fold.metrics[name]:.3f}" for name in names),
         f"{fold.epochs}", f"{fold.cpu_seconds:,.0f}")
        for number, fold in enumerate(folds, 1)
    ]  # fmt: skip
    rows.append(("mean", "", f"{sum(tested)}", *(_interval(means[name]) for name in names), "",
                 f"{sum(fold.cpu_seconds for fold in folds):,.0f}"))  # fmt: skip
    rows.append(("all together", "", f"{sum(tested)}", *(_whole(whole, name) for name in names), "", ""))
    columns = (
        "fold",
        "trained on",
        "tested on",
        *(name.replace("_", " ") for name in names),
        "epochs",
        "CPU-s to train",
    )
    plot = _plot(folds, means[headline], headline, picture)
    return Part(
        title=f"{len(folds)} folds",
        text=(summary(means[headline], len(folds), headline, whole), RULE),
        tables=(Table(title="Folds", columns=columns, rows=tuple(rows)),),
        pictures=(
            Picture(path=plot, caption="Points: folds with the interval of their own test images. Band: the mean's."),
        ),
    )


def summary(mean: Mean, folds: int, headline: str, whole: dict[str, float]) -> str:
    """In a sentence, made of the figures."""
    return (
        f"{headline.replace('_', ' ')} {mean.value:.3f} (95 %: {mean.low:.3f} to {mean.high:.3f}) as the mean of {folds} folds; "
        f"{_whole(whole, headline)} over all images together."
    )


def _interval(mean: Mean) -> str:
    return f"{mean.value:.3f} ({mean.low:.3f}–{mean.high:.3f})"


def _whole(metrics: dict[str, float], name: str) -> str:
    if name not in metrics:
        return "–"
    if f"{name}_low" not in metrics:
        return f"{metrics[name]:.3f}"
    return f"{metrics[name]:.3f} ({metrics[f'{name}_low']:.3f}–{metrics[f'{name}_high']:.3f})"


def _plot(folds: Sequence[Fold], mean: Mean, headline: str, path: Path) -> Path:
    figure = new_figure(6.4, 3.2)
    axes = figure.subplots()
    numbers, values = range(1, len(folds) + 1), [fold.metrics[headline] for fold in folds]
    axes.axhspan(mean.low, mean.high, color=GREY, alpha=0.25, linewidth=0)
    axes.axhline(mean.value, color=INK, linewidth=1)
    for number, metrics in enumerate([fold.metrics for fold in folds], 1):
        if f"{headline}_low" in metrics:
            axes.plot([number] * 2, [metrics[f"{headline}_low"], metrics[f"{headline}_high"]], color=BLUE, linewidth=2)
    axes.plot(numbers, values, "o", color=BLUE)
    axes.set_xticks(list(numbers))
    label_axes(axes, "", "fold", headline.replace("_", " "))
    return save(figure, path)
