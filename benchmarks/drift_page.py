"""docs/drift.md and docs/drift.png from what `benchmarks.drift` measured."""

from pathlib import Path
from typing import Any

from vision.evaluation.style import BLUE, GREY, INK, ORANGE, SKY, label_axes, new_figure, percent, save

Found = dict[str, dict[str, Any]]
JUDGES = {
    "ours": ("ours", BLUE),
    "preset": ("Evidently, half of the columns", ORANGE),
    "any_column": ("Evidently, any column", SKY),
    "embedding": ("Evidently, embedding", GREY),
}
TITLES = {
    "cifar10": "CIFAR-10 (photographs of 32 px, no families)",
    "tomato_leaf": "PlantVillage tomato (photographs of 256 px, in runs of up to 24 shots of a leaf)",
    "quickstart": "Drawn leaves (new ones, each by itself)",
}

INTRO = """# Drift: false alarms and power

`make bench-drift` writes this page; it took {minutes} minutes (more where CIFAR-10's model is trained and images are recorded first).
Windows of {rows} images are judged as `monitor_drift` judges them (`alpha` {alpha}: so many windows without drift may be called drifted),
and by Evidently's defaults: `DataDriftPreset` (half of the columns drifted), any of its columns, its embedding drift.

- **Images** that no training step saw go through every corruption of `vision/monitoring/corruptions.py` at its five severities, are
  stored again as the same JPEG and take the service's own path from bytes to records. Each window divides the images anew, families
  kept together: some are the window, those that are left the reference. (With a reference that stays, all windows from one pool
  would repeat the pool's chance deviation: one draw, counted hundreds of times.)
- **Counted** is the smallest severity of each corruption that costs the model at least {cost} points of accuracy, {many} windows each.
  Those that never do are in the tables and not counted.
- **No drift, known**: records drawn from a smoothed copy of a reference, as many new ones as needed.

## Goals

| goal | measured | bound | |
|---|--:|--:|---|
{goals}
{worth}
![share of windows called drifted, and accuracy, against severity](drift.png)
"""

NULL = """## Windows without drift, drawn: {title}

From {reference[rows]} rows of reference in {reference[families]} families.

| | windows | called drifted | rate | below, with 95 % confidence |
|---|--:|--:|--:|--:|
| a new reference for each window | {fresh[windows]:,} | {fresh[alarms]} | {fresh_rate} | {fresh_upper} |
| {shared[references]} references, new windows | {shared[windows]:,} | {shared[alarms]} | {shared_rate} | – |
| the same, windows drawn from themselves | {promised[windows]:,} | {promised[alarms]} | {promised_rate} | – |

Windows that share a reference are not independent: only the first line has a bound. The last one is how `monitor_drift` measures
its own rate. The worst of the {shared[references]} references had {worst} of its windows called drifted, and keeps that as long as
it is the reference. Alarms ({shared[k]} of the last {shared[n]} windows) rang in {alarm} of the steps.
"""
NULL_TITLES = {
    "quickstart": "independent images",
    "tomato_leaf": "images in families",
}

LIMITS = """## What to make of it

- Where images are independent the stated rate holds on average over references. One reference is one draw with a chance deviation of
  its own, which every window is held against; windows drawn from itself do not show it. `k of n` helps less there, a larger
  reference helps more.
- Images in families say less than their number. The null distribution is then a bootstrap of whole families
  (`vision/monitoring/family_bootstrap.py`), and no record says which images of a window belong together: the rate is near the stated
  one, not at it, above all where a few families are large. The monitor's own measurement on the package's images shows this part.
  A drift that is small beside what families differ by needs windows of more families; more shots of the same ones add nothing.
- Evidently's thresholds are on effect sizes or on single columns; they know neither the window's size nor how many columns there are.
  See the rows of severity "–", where nothing happened.
- Windows of one set share images: the bootstrap intervals are over windows, and new images would vary more.
"""


def write_page(
    found: Found, null: dict[str, Any], goals: list[dict[str, Any]], about: dict[str, float], docs: Path
) -> None:
    """about: rows, alpha, cost, many (windows of a counted case), seconds."""
    draw(found, docs / "drift.png")
    intro = INTRO.format(
        rows=about["rows"],
        alpha=about["alpha"],
        many=about["many"],
        minutes=round(about["seconds"] / 60),
        cost=round(100 * about["cost"]),
        goals="\n".join(_goal(one) for one in _short(goals)),
        worth="".join(_worth(system, one, about["rows"]) for system, one in found.items()),
    )
    parts = [intro, *(_null(system, one) for system, one in null.items())]
    parts += [_system(system, one) for system, one in found.items()]
    (docs / "drift.md").write_text("\n".join([*parts, LIMITS]))


def _short(goals: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of power that were measured at 100 % in one line."""
    full = [one for one in goals if one.get("at_least") and one["measured"] == 1]
    rest = [one for one in goals if one not in full]
    together = {"goal": f"{len(full)} of {len(goals) - 1} counted corruptions found", "measured": 1.0, "met": True}
    return [*rest, {**together, "at_least": full[0]["at_least"]}] if full else rest


def _goal(one: dict[str, Any]) -> str:
    bound = f"≤ {_rate(one['at_most'])}" if "at_most" in one else f"≥ {_rate(one['at_least'])}"
    return f"| {one['goal'].replace('_', ' ')} | {_rate(one['measured'])} | {bound} | {'met' if one['met'] else '**missed**'} |"


def _worth(system: str, one: dict[str, Any], rows: int) -> str:
    """How little a window is where images come in families."""
    if one["worth"] == 1:
        return ""
    return (
        f"\nA window of {rows} photographs of {system.replace('_', ' ')} counts like {rows * one['worth']:.0f} independent ones: "
        "that much can be missed there.\n"
    )


def _null(system: str, one: dict[str, Any]) -> str:
    rates = {f"{name}_rate": _rate(one[name]["rate"]) for name in ("fresh", "shared", "promised")}
    worst, alarm = _rate(one["shared"]["worst_reference"]), _rate(one["shared"]["alarm_rate"])
    return NULL.format(
        title=NULL_TITLES[system], **one, **rates, fresh_upper=_rate(one["fresh"]["upper_95"]), worst=worst, alarm=alarm
    )


def counted(one: dict[str, Any]) -> list[dict[str, Any]]:
    """The cases of one system that its goal is about."""
    return [
        case for case in one["cases"] if case["severity"] and one["smallest"][case["corruption"]] == case["severity"]
    ]


def control(one: dict[str, Any]) -> dict[str, Any]:
    return next(case for case in one["cases"] if not case["severity"])


def _system(system: str, one: dict[str, Any]) -> str:
    clean = control(one)
    never = [name for name, severity in one["smallest"].items() if severity is None]
    head = (
        f"## {TITLES[system]}\n\n{one['images']:,} images in {one['families']:,} families; accuracy "
        f"{percent(clean['accuracy'])} without corruption. Windows without drift called drifted: {_rate(clean['ours'])} of "
        f"{clean['windows']} (bootstrap over windows {_rate(clean['interval'][0])} to {_rate(clean['interval'][1])}); by "
        f"Evidently's preset {_rate(clean['preset'])}, any column {_rate(clean['any_column'])}, embedding "
        f"{_rate(clean['embedding'])} of {clean['baseline_windows']}. "
        f"Never costing so much: {', '.join(never).replace('_', ' ') or 'none'}.\n"
    )
    columns = "| corruption | severity | accuracy | cost, points | counted | windows | ours | "
    columns += " | ".join(name for judge, (name, _) in JUDGES.items() if judge != "ours") + " |"
    rows = [_row(case, clean["accuracy"], case in counted(one)) for case in one["cases"]]
    return "\n".join([head, columns, "|---|--:|--:|--:|:-:|--:|--:|--:|--:|--:|", *rows, ""])


def _row(case: dict[str, Any], accuracy: float, counts: bool) -> str:
    said = " | ".join(_rate(case[judge]) for judge in JUDGES)
    cost = 100 * (accuracy - case["accuracy"])
    severity = case["severity"] or "–"
    return (
        f"| {case['corruption'].replace('_', ' ')} | {severity} | {percent(case['accuracy'])} | {cost:.1f} | "
        f"{'yes' if counts else ''} | {case['windows']} | {said} |"
    )


def _rate(value: float) -> str:
    """`0.4 %`, `99.5 %`, `100 %`."""
    return f"{100 * value:.0f} %" if value in (0.0, 1.0) else f"{100 * value:.1f} %"


def draw(found: Found, path: Path) -> None:
    """A row for each system, a picture for each corruption: share of windows, and accuracy, against severity."""
    names = list(
        dict.fromkeys(case["corruption"] for one in found.values() for case in one["cases"] if case["severity"])
    )
    figure = new_figure(2.35 * len(names), 0.8 + 2.5 * len(found))
    grid = figure.subplots(len(found), len(names), squeeze=False, sharex=True, sharey=True)
    for axes_row, (system, one) in zip(grid, found.items(), strict=True):
        for axes, name in zip(axes_row, names, strict=True):
            _panel(axes, one, name)
            label_axes(axes, name.replace("_", " "), "severity" if system == list(found)[-1] else "")
        axes_row[0].set_ylabel(system.replace("_", " "), fontsize=10, fontweight="bold", color=INK)
    known = {label: line for axes in grid.flat for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.supylabel("share of windows called drifted", fontsize=10, color=INK)
    figure.legend(known.values(), known.keys(), loc="outside lower center", ncols=6, fontsize=9.5, frameon=False)
    save(figure, path)


def _panel(axes, one: dict[str, Any], name: str) -> None:
    cases = [control(one), *(case for case in one["cases"] if case["corruption"] == name)]
    severities = [case["severity"] for case in cases]
    # Ours last, on top; widths differ, so that lines that lie on each other are still seen.
    for width, (judge, (label, colour)) in zip((1.4, 1.8, 2.2, 2.6), reversed(JUDGES.items()), strict=True):
        axes.plot(severities, [case[judge] for case in cases], "o-", color=colour, lw=width, ms=3.5, label=label)
    accuracy = [case["accuracy"] for case in cases]
    axes.plot(severities, accuracy, ":", color=INK, lw=1.6, label="accuracy")
    if (smallest := one["smallest"][name]) is not None:
        axes.axvline(smallest, color=INK, lw=0.9, alpha=0.5, label="first that costs 5 points")
    axes.set_ylim(-0.04, 1.04)
    axes.set_xticks(range(6))
