"""The model card: what the model is for, how good it is and on what, and what it must not be trusted with (Mitchell
2019)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from vision.evaluation.report import Part, RunReport, Table, key_figures, per_class_report, to_markdown
from vision.kinds import answering
from vision.kinds.base import Evaluation
from vision.package import Spec

GENERAL = (
    "The figures hold for images like the test images: same cameras, places and classes. Elsewhere they are not known.",
)
FEW_FAMILIES = 10


def few_families(metrics: Mapping[str, float]) -> tuple[str, ...]:
    """A sentence where the test images are of so few families that an interval over them says next to nothing."""
    families = metrics.get("families", math.inf)
    if families >= FEW_FAMILIES:
        return ()
    return (
        f"The test images are of {families:.0f} {'family' if families == 1 else 'families'} (images that were split together). "
        f"With fewer than {FEW_FAMILIES} the intervals are too narrow to be believed: other families may look quite different.",
    )


@dataclass(frozen=True)
class Background:
    """What a card tells beside the figures. limitations: the config's own, which come first. comparison: with other
    models on the same data, where there was one. level: of the figures' intervals."""

    data: Table | None = None
    limitations: tuple[str, ...] = ()
    lineage: dict[str, str] = field(default_factory=dict)
    comparison: Part | None = None
    level: float = 0.95


def model_card(title: str, spec: Spec, evaluation: Evaluation, background: Background | None = None) -> str:
    """Markdown for `model_card.md`. Without pictures: a card is read where no other file is."""
    known = background or Background()
    summary = f"A {spec.arch} that {answering(spec.kind).told(spec)}. Input: {spec.input.side_px} px RGB."
    report = RunReport(
        title=title,
        summary=summary,
        figures=key_figures(evaluation.metrics),
        level=known.level,
        per_class=per_class_report(evaluation.per_class, known.level),
        data=known.data,
        parts=(known.comparison.model_copy(update={"pictures": ()}),) if known.comparison else (),
        limitations=(
            *few_families(evaluation.metrics),
            *known.limitations,
            *GENERAL,
            *answering(spec.kind).limitations,
        ),
        lineage=known.lineage,
    )
    return to_markdown(report)
