"""docs/size.md and docs/size.png from what `benchmarks.size` measured."""

from pathlib import Path
from typing import Any

from vision.evaluation.style import BLUE, GREY, INK, ORANGE, RIGHT, label_axes, new_figure, save

Found = list[dict[str, Any]]
GROUPS = {
    "ingest": (("ingest: copy", "ingest: DVC"), ORANGE),
    "describe to cache": (("describe", "split", "validate", "explore", "cache"), BLUE),
    "train": (("train",), RIGHT),
    "evaluate to export": (("evaluate", "analyse", "export"), INK),
}

INTRO = """# Size: time and memory against the number of images

`make bench-size` writes this page: the whole of `train_model`, up to its gate, on folders of drawn leaves, in a fresh
state folder each. Network: MobileNetV3-Small from random weights, one epoch in float32 on one thread, batches of 64;
input 32 px from 32-px images, and 224 px cut from 256-px images. The drawing is not counted. {machine}

**Memory** is the peak, over one stage, of the proportional set size of all processes of the flow (command, Prefect's
own server, Ray), without mapped files. **Mapped** is the peak of mapped files: libraries, and the image cache, which is a
memory-mapped file whose pages the kernel takes back when it needs room. Both sampled twice a second. **CPU** is of all
processes. Describe holds Ray's start, train the start of its workers. Images/s counts the whole set in every stage,
though train sees 70 % of it and evaluate 30 %.

![memory and CPU time against images](size.png)
"""

NOTE = """What grows is tables with a row an image (paths, hashes, features) and DVC's index of the files, not images. The
flow is one process, so a later stage's peak holds what an earlier one has left; evaluate's also holds what of the
training's workers is still ending as it begins, a few hundred MiB more or less in any run.
"""


def summary(found: Found) -> dict[str, Any]:
    """Peaks and totals of each case, and KiB that the peak grows by with an image, for each size of image."""
    cases = {name_of(one): {key: round(value, 1) for key, value in one["stages"]["all"].items()} for one in found}
    growth = {
        f"{side_px}px": round(growth_kib(of_side, "all"), 2)
        for side_px, of_side in by_side(found).items()
        if len(of_side) > 1
    }
    return {"cases": cases, "peak_growth_kib_per_image": growth}


def write_page(found: Found, docs: Path) -> None:
    draw(found, docs / "size.png")
    parts = [INTRO.format(machine=_machine(found)), _totals(found), _growth(found)]
    parts += [_stages(side_px, of_side) for side_px, of_side in by_side(found).items()]
    (docs / "size.md").write_text("\n".join(parts))


def by_side(found: Found) -> dict[int, Found]:
    """Side in px -> its cases, the fewest images first."""
    ordered = sorted(found, key=images_of)
    return {side: [one for one in ordered if one["case"]["side_px"] == side] for side in (32, 256)}


def images_of(one: dict[str, Any]) -> int:
    return one["case"]["images"]


def name_of(one: dict[str, Any]) -> str:
    return f"{one['case']['side_px']}px_{images_of(one)}"


def growth_kib(of_side: Found, stage: str) -> float:
    """KiB an image: from the fewest images to the most."""
    first, last = of_side[0], of_side[-1]
    more = last["stages"][stage]["memory_mib"] - first["stages"][stage]["memory_mib"]
    return 1024 * more / (images_of(last) - images_of(first))


def _machine(found: Found) -> str:
    if not found:
        return ""
    one, loads = found[0], [each["load"] for each in found]
    return (
        f"Measured on {one['cores']} cores of {one['cpu']} with {one['memory_gib']:.0f} GiB; load average when a case "
        f"began: {min(loads):.1f} to {max(loads):.1f} (what other work there was is in the seconds, not in CPU or memory)."
    )


def _totals(found: Found) -> str:
    rows = [
        f"| {one['case']['side_px']} px | {images_of(one):,} | {whole['seconds']:,.0f} | {whole['cpu_s']:,.0f} | "
        f"{whole['memory_mib']:,.0f} | {whole['mapped_mib']:,.0f} | {_again(one)} |"
        for one in found
        for whole in (one["stages"]["all"],)
    ]
    head = "| images of | images | seconds | CPU-s | memory MiB | mapped MiB | again, nothing changed: s |"
    return "\n".join(["## The whole flow\n", head, "|---|--:|--:|--:|--:|--:|--:|", *rows, ""])


def _again(one: dict[str, Any]) -> str:
    return f"{one['again']['seconds']:,.0f}" if one["again"] else "–"


def _growth(found: Found) -> str:
    """What each stage's peak grows by with one image, beside what the decoded image would take."""
    sides = {side: of_side for side, of_side in by_side(found).items() if len(of_side) > 1}
    if not sides:
        return ""
    stages = [name for name in next(iter(sides.values()))[0]["stages"] if name != "all"]
    rows = [
        f"| {stage} | " + " | ".join(f"{growth_kib(of_side, stage):.2f}" for of_side in sides.values()) + " |"
        for stage in (*stages, "all")
    ]
    decoded = " | ".join(f"{side * side * 3 / 1024:.0f}" for side in sides)
    head = ["| peak memory grows by, KiB an image | " + " | ".join(f"{side} px" for side in sides) + " |"]
    head += ["|---|" + "--:|" * len(sides)]
    return "\n".join(["## What grows\n", *head, *rows, f"| *a decoded image* | {decoded} |", "", NOTE])


def _stages(side_px: int, of_side: Found) -> str:
    lines = [
        f"| {stage} | {images_of(one):,} | {took['seconds']:,.1f} | {images_of(one) / took['seconds']:,.0f} | "
        f"{took['cpu_s']:,.1f} | {1000 * took['cpu_s'] / images_of(one):.2f} | {took['memory_mib']:,.0f} | {took['mapped_mib']:,.0f} |"
        for stage in (of_side[0]["stages"] if of_side else ())
        if stage != "all"
        for one in of_side
        for took in (one["stages"][stage],)
    ]
    if not lines:
        return ""
    head = "| stage | images | seconds | images/s | CPU-s | CPU-ms an image | memory MiB | mapped MiB |"
    return "\n".join([f"## Stages at {side_px} px\n", head, "|---|--:|--:|--:|--:|--:|--:|--:|", *lines, ""])


def draw(found: Found, path: Path) -> None:
    """A row for each size of image: peak memory and CPU time an image, by groups of stages."""
    sides = {side: of_side for side, of_side in by_side(found).items() if of_side}
    figure = new_figure(11, 0.6 + 3.6 * len(sides))
    for (side, of_side), (memory, cpu) in zip(
        sides.items(), figure.subplots(len(sides), 2, squeeze=False), strict=True
    ):
        counts = [images_of(one) for one in of_side]
        for name, (stages, colour) in GROUPS.items():
            peaks = [max(one["stages"][stage]["memory_mib"] for stage in stages) for one in of_side]
            used = [sum(one["stages"][stage]["cpu_s"] for stage in stages) for one in of_side]
            memory.plot(counts, peaks, "o-", color=colour, linewidth=1.8, markersize=4, label=name)
            cpu.plot(
                counts,
                [1000 * s / n for s, n in zip(used, counts, strict=True)],
                "o-",
                color=colour,
                linewidth=1.8,
                markersize=4,
            )
        start = of_side[0]["stages"]["all"]["memory_mib"]
        held = [start + (count - counts[0]) * side * side * 3 / 2**20 for count in counts]
        memory.plot(counts, held, ":", color=GREY, label="if the decoded images were held")
        label_axes(memory, f"Peak memory, {side}-px images", "images", "MiB")
        label_axes(cpu, f"CPU time, {side}-px images", "images", "ms an image")
        for axes in (memory, cpu):
            axes.set_ylim(bottom=0)
            axes.set_xticks(counts, [f"{count:,}" for count in counts])
    figure.legend(*memory.get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=9, frameon=False)
    save(figure, path)
