"""The model card: what the model is for, how good it is and on what, and what it must not be trusted with (Mitchell
2019)."""

from vision.evaluation.report import RunReport, Table, key_figures, per_class_report, to_markdown
from vision.kinds.base import Evaluation
from vision.package import Spec

GENERAL = (
    "The figures hold for images like the test images: same cameras, places and classes. Elsewhere they are not known.",
    "Every image gets one of the labels, also when it shows none of them; a low confidence is the only hint of that.",
)


def model_card(
    title: str,
    spec: Spec,
    evaluation: Evaluation,
    data: Table | None = None,
    limitations: tuple[str, ...] = (),
    lineage: dict[str, str] | None = None,
) -> str:
    """Markdown for `model_card.md`. `limitations` are the config's own and come first."""
    summary = (
        f"A {spec.arch} that answers with one of {len(spec.labels)} labels ({', '.join(spec.labels)}). Input: "
        f"{spec.input.side_px} px RGB. Probabilities are calibrated with temperature {spec.temperature:.2f}; an answer "
        f"counts as confident from {spec.confident_at:.2f}."
    )
    report = RunReport(
        title=title,
        summary=summary,
        figures=key_figures(evaluation.metrics),
        per_class=per_class_report(evaluation.per_class),
        data=data,
        limitations=(*limitations, *GENERAL),
        lineage=lineage or {},
    )
    return to_markdown(report)
