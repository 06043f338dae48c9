"""Calibrates, evaluates and draws a detector: the evaluation half of the kind `detect`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from vision.data.boxes.geometry import NORMAL
from vision.errors import UserError
from vision.evaluation import box_matches, calibration, resampling, slices
from vision.evaluation.box_matches import HEADLINE, LEAST, NOBODY, Matches, mean_of_classes
from vision.evaluation.config import EvaluationConfig
from vision.kinds.base import Evaluation
from vision.kinds.detect_boxes import Found, find_all
from vision.package import Spec

if TYPE_CHECKING:
    from vision.data.cache import Crops
    from vision.evaluation.report import Part

THRESHOLDS = (0.02, 0.95)


def best_threshold(outputs: Mapping[str, np.ndarray], targets: Sequence[Mapping]) -> float:
    """The score that a box needs, for the best F1 on the validation split."""
    found = find_all(outputs, LEAST)
    matches = box_matches.match_all(found, targets, outputs["scores"].shape[-1])
    return float(np.clip(box_matches.best_f1_threshold(matches), *THRESHOLDS))


def evaluate(
    outputs: Mapping[str, np.ndarray],
    rows: pd.DataFrame,
    targets: Sequence[Mapping],
    spec: Spec,
    config: EvaluationConfig,
) -> Evaluation:
    """rows: splits rows aligned with the outputs and targets. Raises `UserError` for an empty split or one without a box."""
    from vision.evaluation.coco import coco_precisions

    if not sum(len(target["labels"]) for target in targets):
        raise UserError(
            f"no box in the {len(rows)} images to evaluate on", "one at least", "add images or change data.split"
        )
    found, classes = find_all(outputs, LEAST), len(spec.labels)
    sizes = list(zip(rows["width_px"].astype(int), rows["height_px"].astype(int), strict=True))
    ap50, ap = coco_precisions(found, targets, sizes, classes)
    matches, families = box_matches.match_all(found, targets, classes), rows["family"].to_numpy()
    low, high = resampling.span(box_matches.map_samples(matches, families, config.bootstrap_samples), config.interval)
    answered = _answer_rows(found, targets, rows, spec)
    figures = {
        HEADLINE: mean_of_classes(ap50),
        "map50_low": low,
        "map50_high": high,
        "map50_95": mean_of_classes(ap),
        **_rates(matches.above(spec.threshold), answered, config),
        "threshold": spec.threshold,
        "images": float(len(rows)),
        "families": float(pd.Series(families).nunique()),
        "boxes": float(matches.wanted.sum()),
    }
    for row in slices.slice_table(answered, config.interval, config.slices).itertuples():
        figures[f"accuracy_{row.slice}"] = row.accuracy
    table = _per_class(matches.above(spec.threshold), families, spec, config).assign(ap50=ap50, ap50_95=ap)
    return Evaluation(HEADLINE, figures, table, answered)


def draw(
    evaluation: Evaluation,
    outputs: Mapping[str, np.ndarray],
    images: "np.ndarray | Crops",
    spec: Spec,
    folder: Path,
    grid_images: int = 25,
) -> list[Path]:
    """The detector's pictures as PNG files in `folder`. images: uint8 [N, S, S, 3], aligned with `evaluation.rows`."""
    from vision.evaluation import box_errors, box_galleries, box_plots, plots

    rows = evaluation.rows
    matches = box_matches.match_all(find_all(outputs, LEAST), box_errors.targets_of(rows, spec), len(spec.labels))
    names = (*spec.labels, "nothing")
    return [
        box_plots.precision_recall(matches, evaluation.per_class, spec.threshold, folder / "precision_recall.png"),
        plots.confusion_matrix(
            box_errors.confusion(rows, spec), names, folder / "confusion_with_nothing.png", unit="boxes"
        ),
        plots.recall_per_class(evaluation.per_class, folder / "recall_per_class.png"),
        box_galleries.answer_grid(images, rows, grid_images, folder / "boxes.png"),
    ]


def error_parts(evaluation: Evaluation, images: "np.ndarray | Crops", spec: Spec, folder: Path) -> "tuple[Part, ...]":
    """What is a detector's own in the analysis of errors: what is missed and why boxes are false, and the worst images."""
    from vision.evaluation import box_errors

    return (
        box_errors.causes_part(evaluation.rows, spec),
        box_errors.worst_part(evaluation.rows, images, folder / "worst_boxes.png"),
    )


def _answer_rows(found: Sequence[Found], targets: Sequence[Mapping], rows: pd.DataFrame, spec: Spec) -> pd.DataFrame:
    """path, sha256, label, answer, confidence, right (every true box found and no other), family, what slices are cut by;
    `found` and `missed`: lists of boxes with label, x1, y1, x2, y2 (0..1), those found with score and right."""
    names = [
        "path",
        "sha256",
        "label",
        "family",
        *(name for name in slices.COLUMNS if name in rows and name != "label"),
    ]
    said = [_answer(one, target, spec) for one, target in zip(found, targets, strict=True)]
    return rows[names].reset_index(drop=True).assign(**pd.DataFrame(said).to_dict("series"))


def _answer(found: Found, target: Mapping, spec: Spec) -> dict[str, Any]:
    sure = found.above(spec.threshold)
    boxes, labels = np.asarray(target["boxes"], float).reshape(-1, 4), np.asarray(target["labels"], int)
    true = box_matches.match(sure, boxes, labels)
    missed = np.setdiff1d(np.arange(len(labels)), true)
    best = float(found.scores[0]) if len(found.scores) else 0.0
    return {
        "answer": spec.labels[sure.classes[0]] if len(sure.scores) else NORMAL,
        "confidence": best if len(sure.scores) else 1 - best,
        "right": bool((true != NOBODY).all() and not len(missed)),
        "found": [
            _box(spec.labels[number], box) | {"score": float(value), "right": bool(mine != NOBODY)}
            for number, box, value, mine in zip(sure.classes, sure.boxes, sure.scores, true, strict=True)
        ],
        "missed": [_box(spec.labels[labels[number]], boxes[number]) for number in missed],
        "true": [_box(spec.labels[label], box) for label, box in zip(labels, boxes, strict=True)],
    }


def _box(label: str, box: np.ndarray) -> dict[str, Any]:
    return {"label": label, **dict(zip(("x1", "y1", "x2", "y2"), map(float, box), strict=True))}


def _rates(matches: Matches, rows: pd.DataFrame, config: EvaluationConfig) -> dict[str, float]:
    """matches: from the threshold on."""
    right, families = rows["right"].to_numpy(bool), rows["family"].to_numpy()
    low, high = resampling.wilson(right.mean(), resampling.effective_count(families), config.interval)
    hits, normal = matches.right.sum(), matches.wanted.sum(axis=1) == 0
    flagged = np.bincount(matches.image, minlength=len(rows)) > 0
    confidence = rows["confidence"].to_numpy()
    found = {
        "accuracy": float(right.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        "box_recall": float(hits / matches.wanted.sum()),
        "box_precision": float(hits / len(matches.scores)) if len(matches.scores) else float("nan"),
        "defects_flagged": float(flagged[~normal].mean()),
        "ece": calibration.expected_calibration_error(confidence, right),
        "mean_confidence": float(confidence.mean()),
    }
    return found | ({"false_alarm_rate": float(flagged[normal].mean())} if normal.any() else {})


def _per_class(matches: Matches, families: np.ndarray, spec: Spec, config: EvaluationConfig) -> pd.DataFrame:
    """One row a class: label, images (with such a box), boxes, precision, recall, recall_low, recall_high, f1, answers (how
    many boxes were said). Of boxes; the interval is Wilson's over the effective number of families."""
    found = []
    for number, label in enumerate(spec.labels):
        mine, wanted = matches.classes == number, matches.wanted[:, number]
        hits, said, boxes = matches.right[mine].sum(), mine.sum(), wanted.sum()
        recall = hits / boxes if boxes else float("nan")
        count = resampling.effective_count(np.repeat(families, wanted))
        low, high = resampling.wilson(recall, count, config.interval)
        found.append(
            {
                "label": label,
                "images": int((wanted > 0).sum()),
                "precision": hits / said if said else float("nan"),
                "recall": recall,
                "recall_low": low,
                "recall_high": high,
                "f1": 2 * hits / (said + boxes) if said + boxes else float("nan"),
                "answers": int(said),
                "boxes": int(boxes),
            }
        )
    return pd.DataFrame(found)
