"""docs/pretraining.md and docs/pretraining.png from what `benchmarks.pretraining` measured."""

from pathlib import Path
from statistics import mean
from typing import Any

from vision.evaluation.style import BLUE, GREY, label_axes, new_figure, save

Found = list[dict[str, Any]]
INTRO = """# SimCLR pre-training: what it gains

`make bench-pretraining` writes this page: {arch} on `{system}` at {side_px} px, split 60/10/30 by family, from random
weights and from a SimCLR backbone (Chen et al. 2020) pre-trained for {pretrain_epochs} epochs on the training split's images,
without labels, at {views_px} px. Both arms have the same images, labels, augmentation, batches and epochs. SimCLR's stages are
the head alone, then everything with a smaller rate for the backbone. Test images were seen by neither. Fewer labels are a
stratified part of whole families (`training.label_share`); the validation split, which picks the epoch, keeps all of its own.
Intervals: 95 %, bootstrap over families; the gain's has both arms on the same resampled families. {seeds} seed(s).

![macro-F1 against the share of labels](pretraining.png)
"""


def summary(found: Found) -> dict[str, Any]:
    """Means over the seeds, a share of labels each."""
    result = {}
    for share in sorted({one["share"] for one in found}):
        of_share = [one for one in found if one["share"] == share]
        result[f"{share:g}"] = {
            "scratch": round(mean(one["scratch"]["macro_f1"] for one in of_share), 4),
            "simclr": round(mean(one["simclr"]["macro_f1"] for one in of_share), 4),
            "gain": round(mean(one["gain"] for one in of_share), 4),
            "gain_low": round(mean(one["gain_low"] for one in of_share), 4),
            "gain_high": round(mean(one["gain_high"] for one in of_share), 4),
        }
    cost = round(mean(one["pretraining"]["cpu_seconds"] for one in found), 1)
    return {"gain_of_simclr": result, "pretraining_cpu_s": cost}


def write_page(found: Found, settings: dict[str, Any], docs: Path) -> None:
    draw(found, docs / "pretraining.png")
    lines = [
        INTRO.format(**settings),
        "| labels | seed | from random weights | from SimCLR | gain | CPU-s, random | CPU-s, SimCLR |",
        "|---|---|---|---|---|---|---|",
        *(_row(one) for one in found),
    ]
    cost = found[0]["pretraining"]
    options = {name: value for name, value in settings["pretraining"].items() if value is not None}
    lines += [
        "",
        f"Pre-training itself: {cost['cpu_seconds']:.0f} CPU-seconds, once for all rows of a seed; loss at its best epoch "
        f"{cost['loss']:.2f}. On {settings['cores']} cores.",
        "",
        f"Settings: {', '.join(f'{name} {value}' for name, value in options.items())}; supervised epochs "
        f"{', '.join(f'{count} at {share:.0%}' for share, count in settings['epochs'].items())}.",
        "",
    ]
    (docs / "pretraining.md").write_text("\n".join(lines))


def _row(one: dict[str, Any]) -> str:
    arms = [
        f"{arm['macro_f1']:.3f} ({arm['macro_f1_low']:.3f} to {arm['macro_f1_high']:.3f})"
        for arm in (one["scratch"], one["simclr"])
    ]
    gain = f"**{one['gain']:+.3f}** ({one['gain_low']:+.3f} to {one['gain_high']:+.3f})"
    cpu = [f"{one[name]['cpu_seconds']:.0f}" for name in ("scratch", "simclr")]
    labels = f"{one['share']:.0%}: {one['scratch']['labels']}"
    return f"| {labels} | {one['seed']} | {' | '.join([*arms, gain, *cpu])} |"


def draw(found: Found, path: Path) -> Path:
    """Macro-F1 of both arms with intervals, and the gain."""
    figure = new_figure(9, 3.6)
    scores, gains = figure.subplots(1, 2, width_ratios=[1.3, 1])
    for shift, (name, text, colour) in enumerate((("scratch", "random weights", GREY), ("simclr", "SimCLR", BLUE))):
        arms = [one[name] for one in found]
        places = [place + 0.12 * (2 * shift - 1) for place in range(len(found))]
        values = [arm["macro_f1"] for arm in arms]
        spread = [
            [max(0.0, arm["macro_f1"] - arm["macro_f1_low"]) for arm in arms],
            [max(0.0, arm["macro_f1_high"] - arm["macro_f1"]) for arm in arms],
        ]
        scores.errorbar(places, values, yerr=spread, fmt="o", color=colour, capsize=4, label=text)
    values = [one["gain"] for one in found]
    spread = [
        [max(0.0, one["gain"] - one["gain_low"]) for one in found],
        [max(0.0, one["gain_high"] - one["gain"]) for one in found],
    ]
    gains.errorbar(range(len(found)), values, yerr=spread, fmt="o", color=BLUE, capsize=4)
    gains.axhline(0, color=GREY, linewidth=1)
    label_axes(scores, "Macro-F1 on unseen images", "labels")
    label_axes(gains, "Gain of SimCLR", "labels")
    for axes in (scores, gains):
        axes.set_xticks(range(len(found)), [f"{one['share']:.0%}" for one in found])
        axes.set_xlim(-0.5, len(found) - 0.5)
    scores.legend(fontsize=8.5, frameon=False)
    return save(figure, path)
