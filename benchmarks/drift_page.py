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
    "tomato_leaf": "PlantVillage tomato (photographs of 256 px, in runs of up to 24 shots)",
    "quickstart": "Drawn leaves (new ones; the reference is the package's own)",
}

INTRO = """# Drift: false alarms and power

`make bench-drift` writes this page. Images that no training step saw go through every corruption of
`vision/monitoring/corruptions.py` at its five severities, are stored again as the same JPEG, and take the service's own path
from bytes to records. Windows of {rows} are judged as `monitor_drift` judges them (alpha {alpha}), and by Evidently's
defaults: `DataDriftPreset` (a window drifted when half of its columns did), its columns (any of them), and its embedding
drift. Windows keep image families together and are compared with families that they have not.

![share of windows called drifted, and accuracy, against severity](drift.png)
"""

NULL = """## Windows without drift, drawn independently

Records drawn from a smoothed copy of the drawn system's reference ({rows} a window, {reference} of reference), no image twice.

| reference | windows | called drifted | rate | below, with 95 % confidence |
|---|--:|--:|--:|--:|
| a new one for each window | {fresh[windows]:,} | {fresh[alarms]} | {fresh_rate} | {fresh_upper} |
| {shared[references]} references for all | {shared[windows]:,} | {shared[alarms]} | {shared_rate} | {shared_upper} |

The stated rate holds over references. One reference is one draw: the worst of the {shared[references]} had {worst} of its windows
called drifted, and keeps that as long as it is the reference. Alarms (2 of the last 3 windows) rang in {alarm} of the steps.
"""

COUNTED = """Counted: the smallest severity of each corruption that costs the model at least {cost} points of accuracy. Those that never do
are in the table and not counted.
"""


def write_page(found: Found, null: dict[str, Any], config: dict[str, float], docs: Path) -> None:
    """config: rows, alpha, reference (rows of the drawn one), cost."""
    draw(found, docs / "drift.png")
    shared = null["shared"]
    told = NULL.format(
        rows=config["rows"],
        reference=config["reference"],
        fresh=null["fresh"],
        shared=shared,
        fresh_rate=_rate(null["fresh"]["rate"]),
        fresh_upper=_rate(null["fresh"]["upper_95"]),
        shared_rate=_rate(shared["rate"]),
        shared_upper=_rate(shared["upper_95"]),
        worst=_rate(shared["worst_reference"]),
        alarm=_rate(shared["alarm_rate"]),
    )
    parts = [INTRO.format(**config), told, COUNTED.format(cost=round(100 * config["cost"]))]
    parts += [_system(system, one) for system, one in found.items()]
    (docs / "drift.md").write_text("\n".join(parts))


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
        f"## {TITLES[system]}\n\n{one['reference_rows']:,} rows of reference in {one['families']:,} families; accuracy "
        f"{percent(clean['accuracy'])} without corruption. Windows without drift called drifted: {_rate(clean['ours'])} of "
        f"{clean['windows']} (bootstrap over windows {_rate(clean['interval'][0])} to {_rate(clean['interval'][1])}). "
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
    handles = grid[0][0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=6, fontsize=9.5, frameon=False)
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
