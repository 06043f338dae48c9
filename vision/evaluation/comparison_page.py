"""A comparison in words, a table and a picture. Every sentence is made of the figures."""

from collections.abc import Sequence
from pathlib import Path

from vision.evaluation.comparison import Standing, pareto, recommended
from vision.evaluation.report import Part, Picture, Point, Table
from vision.evaluation.style import BLUE, GREY, INK, ORANGE, label_axes, new_figure, save

PRECISIONS = ("float32", "bfloat16", "int8")
RULE = (
    "The rule: of the models that a paired test over families of images can't tell to be worse than the best by {headline} "
    "(one-sided, p above {level:.2g} after Holm's correction), the one whose answer takes the least time in {precision}, "
    "which is what would be served on this device."
)


def comparison_part(found: Sequence[Standing], headline: str, precision: str, sure: float, picture: Path) -> Part:
    """found: from `standings`; picture: where the Pareto plot is drawn."""
    chosen = recommended(found, precision)
    plot = Picture(path=pareto_plot(found, headline, precision, picture), caption="Up and to the left is better.")
    points = tuple(Point(text=_reason(one, found[0], chosen, headline, precision)) for one in found)
    return Part(
        title="Which model",
        text=(verdict(found, headline, precision), RULE.format(headline=headline, level=1 - sure, precision=precision)),
        points=points,
        tables=(_table(found, headline, sure),),
        pictures=(plot,),
    )


def verdict(found: Sequence[Standing], headline: str, precision: str) -> str:
    """The recommendation in a sentence or two."""
    chosen, best = recommended(found, precision), found[0]
    cost = chosen.cost_ms(precision)
    if chosen.arch == best.arch:
        rivals = [one for one in found[1:] if one.cost_ms(precision) < cost]
        why = "and none is cheaper" if not rivals else "and what is cheaper is worse"
        return f"Take {chosen.arch}: its {headline}, {best.value:.3f}, is the best, {why} ({cost:.1f} ms an answer)."
    return (
        f"Take {chosen.arch}: its {headline}, {chosen.value:.3f}, can't be told from the best, {best.arch}'s {best.value:.3f} "
        f"({_test(chosen)}), and an answer takes {cost:.1f} ms and not {best.cost_ms(precision):.1f}."
    )


def _reason(one: Standing, best: Standing, chosen: Standing, headline: str, precision: str) -> str:
    cost = f"{one.cost_ms(precision):.1f} ms an answer, {one.cpu_seconds:,.0f} CPU-seconds to train"
    cut = "" if one.budgeted == one.planned else f" Its budget allowed {one.budgeted} of {one.planned} epochs."
    if one.arch == best.arch:
        standing = f"best {headline}, {one.value:.3f}"
    else:
        relation = "worse than the best" if one.worse else "not told to be worse than the best"
        standing = f"{headline} {one.value:.3f}, {relation} ({_test(one)})"
    choice = "recommended" if one.arch == chosen.arch else "left" if one.worse else "left, since it costs more"
    return f"{one.arch}: {standing}; {cost}; {choice}.{cut}"


def _test(one: Standing) -> str:
    p = f"p={one.p:.3f}" if one.p >= 0.001 else "p<0.001"
    if one.difference_low is None:
        return f"{p}, difference {one.difference:+.3f}"
    return f"{p}, difference {one.difference:+.3f}, interval {one.difference_low:+.3f} to {one.difference_high:+.3f}"


def _table(found: Sequence[Standing], headline: str, sure: float) -> Table:
    columns = ("model", "accuracy", headline.replace("_", " "), "parameters, M", "MiB", "MiB int8",
               *(f"ms {name}" for name in PRECISIONS), "int8 costs a class", "CPU-s to train", "epochs")  # fmt: skip
    rows = tuple(
        (
            one.arch,
            _interval(one.accuracy, one.accuracy_low, one.accuracy_high),
            _interval(one.value, one.low, one.high),
            f"{one.parameters / 1e6:.1f}",
            *(_number(one.size_mib.get(name)) for name in ("float32", "int8")),
            *(_number(one.latency_ms.get(name)) for name in PRECISIONS),
            "–" if one.int8_drop is None else f"{one.int8_drop:.3f}{'' if one.int8_passed else ', refused'}",
            f"{one.cpu_seconds:,.0f}",
            f"{one.epochs:g} of {one.planned}",
        )
        for one in found
    )
    seeds = len(found[0].seeds)
    trained = "one training each" if seeds == 1 else f"means of {seeds} trainings each"
    note = (
        f"Intervals at {sure:.0%} over families of near-duplicates; {trained}. ms: one image at a time, the middle of many. "
        "int8 costs a class: what the worst class loses of its recall; refused: more than export.int8_max_drop. "
        "They are compared on the test images: the best one's figure is flattered by having been chosen there."
    )
    return Table(title="The models, the best first", columns=columns, rows=rows, note=note)


def pareto_plot(found: Sequence[Standing], headline: str, precision: str, path: Path) -> Path:
    """Accuracy (the headline where there is none) against time. The line: models that no other beats in both."""
    chosen, front = recommended(found, precision), pareto(found, precision)
    by_accuracy = found[0].accuracy is not None
    figure = new_figure(6.4, 4.2)
    axes = figure.add_subplot()
    axes.step([one.cost_ms(precision) for one in front], [one.height for one in front],
              where="post", color=GREY, linewidth=1.2, zorder=1)  # fmt: skip
    for one in found:
        colour = ORANGE if one.arch == chosen.arch else BLUE
        at, (value, low, high) = one.cost_ms(precision), _height(one)
        span = [[max(0, value - low)], [max(0, high - value)]]
        axes.errorbar(at, value, yerr=span, fmt="o", markersize=9, color=colour, elinewidth=1.2, capsize=3)
        place = {"xytext": (9, 7), "textcoords": "offset points"}
        axes.annotate(one.arch, (at, value), **place, fontsize=9, color=INK)
    what = "accuracy" if by_accuracy else headline.replace("_", " ")
    label_axes(
        axes,
        f"{what.capitalize()} against time; recommended in orange",
        f"ms an answer, {precision}",
        f"{what} on test images",
    )
    axes.margins(x=0.22, y=0.12)
    return save(figure, path)


def _height(one: Standing) -> tuple[float, float, float]:
    """Accuracy, or the headline, with the ends of its interval; without one the value itself."""
    by_value = one.accuracy is None
    low, high = (one.low, one.high) if by_value else (one.accuracy_low, one.accuracy_high)
    return one.height, one.height if low is None else low, one.height if high is None else high


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.3f} to {high:.3f})"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
