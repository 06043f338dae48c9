"""Calibrates, evaluates and draws a classifier: the evaluation half of the kind `classify`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vision.errors import UserError
from vision.evaluation import calibration, metrics, resampling, slices
from vision.evaluation.config import EvaluationConfig
from vision.kinds.base import Evaluation
from vision.package import Spec

if TYPE_CHECKING:
    from vision.data.cache import Crops
    from vision.evaluation.report import Part

HEADLINE = "macro_f1"


def calibrate(outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> float:
    """Temperature for `outputs["logits"]` [N, K] of the validation split."""
    return calibration.fit_temperature(outputs["logits"], np.asarray(targets))


def evaluate(outputs: Mapping[str, np.ndarray], rows: pd.DataFrame, spec: Spec, config: EvaluationConfig) -> Evaluation:
    """Metrics with intervals, the per-class table and one row an image. `rows`: splits rows aligned with `logits` [N,
    K].

    Raises `UserError` for an empty split and for labels that the model does not know.
    """
    if len(rows) == 0:
        raise UserError(
            "no image to evaluate on", "at least one readable image in the split", "add images or change data.split"
        )
    targets = metrics.class_numbers(rows["label"], spec.labels)
    probabilities = calibration.softmax(outputs["logits"], spec.temperature)
    answered = _answer_rows(probabilities, targets, rows, spec)
    answers, families = probabilities.argmax(axis=1), rows["family"].to_numpy()
    figures = {
        **_rates(targets, answers, families, config, classes=len(spec.labels)),
        **metrics.probability_scores(probabilities, targets),
        **_confidence_figures(answered, config.confident_at),
        "images": float(len(rows)),
        "families": float(pd.Series(families).nunique()),
    }
    for row in slices.slice_table(answered, config.interval, config.slices).itertuples():
        figures[f"accuracy_{row.slice}"] = row.accuracy
    table = metrics.per_class_table(targets, answers, families, spec.labels, config.interval)
    return Evaluation(HEADLINE, figures, table, answered)


def draw(
    evaluation: Evaluation,
    outputs: Mapping[str, np.ndarray],
    images: "np.ndarray | Crops",
    spec: Spec,
    folder: Path,
    grid_images: int = 25,
) -> list[Path]:
    """The classifier's pictures as PNG files in `folder`. images: uint8 [N, S, S, 3], aligned with
    `evaluation.rows`."""
    from vision.evaluation import confidence_plots, galleries, plots

    rows, confusion = evaluation.rows, _confusion(evaluation.rows, spec)
    picks = galleries.pick_answers(rows, grid_images)
    return [
        plots.confusion_matrix(confusion, spec.labels, folder / "confusion_matrix.png"),
        plots.confusion_matrix(confusion, spec.labels, folder / "confusion_matrix_normalised.png", normalised=True),
        plots.recall_per_class(evaluation.per_class, folder / "recall_per_class.png"),
        plots.confused_pairs(confusion, spec.labels, folder / "confused_pairs.png"),
        galleries.answer_grid(images[picks], rows.iloc[picks], len(rows), folder / "answers.png"),
        confidence_plots.reliability(rows, folder / "reliability.png"),
        confidence_plots.confidence_threshold(rows, spec.confident_at, folder / "confidence_threshold.png"),
    ]


def error_parts(evaluation: Evaluation, images: "np.ndarray | Crops", spec: Spec, folder: Path) -> "tuple[Part, ...]":
    """What is a classifier's own in the analysis of errors: the confused pairs."""
    from vision.evaluation.confused import confused_part

    return (confused_part(evaluation.rows, _confusion(evaluation.rows, spec), spec.labels, images, folder),)


def _answer_rows(probabilities: np.ndarray, targets: np.ndarray, rows: pd.DataFrame, spec: Spec) -> pd.DataFrame:
    """path, sha256, label, answer, confidence, right, family, second and its probability, the label's own and its loss,
    and what slices are cut by."""
    order = np.argsort(-probabilities, axis=1, kind="stable")
    names, place = np.asarray(spec.labels, dtype=object), np.arange(len(rows))
    kept = rows[
        ["path", "sha256", "label", "family", *(name for name in slices.COLUMNS if name in rows and name != "label")]
    ]
    return kept.assign(
        answer=names[order[:, 0]],
        confidence=probabilities[place, order[:, 0]],
        right=order[:, 0] == targets,
        second=names[order[:, 1]],
        second_probability=probabilities[place, order[:, 1]],
        label_probability=probabilities[place, targets],
        loss=-np.log(np.maximum(probabilities[place, targets], 1e-12)),
    )


def _rates(
    targets: np.ndarray, answers: np.ndarray, families: np.ndarray, config: EvaluationConfig, classes: int
) -> dict[str, float]:
    """metrics.RATES, each with its interval. Without a single error the bootstrap knows no spread: then Wilson's bound
    over the effective number of families stands in, for all of them."""
    counts = resampling.family_confusions(targets, answers, families, classes)
    samples = resampling.bootstrap(counts, classes, metrics.scores, config.bootstrap_samples)
    figures = {}
    for name, value in metrics.scores(metrics.confusion_matrix(targets, answers, classes)).items():
        low, high = resampling.span(samples[name], config.interval)
        if low == high == 1.0:
            low, _ = resampling.wilson(1.0, resampling.effective_count(families), config.interval)
        figures |= {name: float(value), f"{name}_low": low, f"{name}_high": high}
    return figures


def _confidence_figures(rows: pd.DataFrame, confident_at: float) -> dict[str, float]:
    confidence, right = rows["confidence"].to_numpy(), rows["right"].to_numpy(bool)
    at = calibration.threshold_table(confidence, right, np.array([confident_at])).iloc[0]
    found = {
        "ece": calibration.expected_calibration_error(confidence, right),
        "mean_confidence": float(confidence.mean()),
        "confident_share": float(at["coverage"]),
        "confident_accuracy": float(at["accuracy"]),
    }
    if not right.all():
        found["errors_caught"] = float(at["errors_caught"])
        if right.any():
            found["confidence_auroc"] = calibration.separation(confidence, right)
    return found


def _confusion(rows: pd.DataFrame, spec: Spec) -> np.ndarray:
    numbers = [metrics.class_numbers(rows[column], spec.labels) for column in ("label", "answer")]
    return metrics.confusion_matrix(*numbers, len(spec.labels))
