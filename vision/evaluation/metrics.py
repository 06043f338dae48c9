"""Scores of a classifier, from the confusion matrix and from its probabilities.

`confusion` is [..., K, K]: rows are the true classes, columns the answers. Leading axes let a bootstrap score all of
its samples at once; for a single matrix the figures are those of scikit-learn with `zero_division=0` (held by a test).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vision.errors import UserError
from vision.evaluation.resampling import effective_count, wilson

RATES = ("accuracy", "macro_f1", "precision", "recall", "weighted_f1", "balanced_accuracy")


def class_numbers(values: pd.Series, labels: Sequence[str]) -> np.ndarray:
    """int64 [N]: each value's place in `labels`. Raises `UserError` naming the values that are not among them."""
    numbers = pd.Index(labels).get_indexer(values)
    if (numbers < 0).any():
        strange = sorted({str(value) for value in values[numbers < 0]})
        raise UserError(
            f"{int((numbers < 0).sum())} images carry labels that the model does not know: {', '.join(strange[:10])}",
            f"the model's labels: {', '.join(labels)}",
            "leave those classes out of the data, or train a model on this version of it",
        )
    return numbers


def confusion_matrix(targets: np.ndarray, answers: np.ndarray, classes: int) -> np.ndarray:
    """int [K, K] counts: row the true class, column the answer."""
    from sklearn import metrics

    return metrics.confusion_matrix(targets, answers, labels=np.arange(classes))


def row_normalised(confusion: np.ndarray) -> np.ndarray:
    """float [K, K]: each row as shares of its class (the diagonal is recall); NaN where a class has no image."""
    images = confusion.sum(axis=1, keepdims=True).astype(float)
    return np.divide(confusion, images, out=np.full(confusion.shape, np.nan), where=images > 0)


def scores(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """The RATES of each matrix of `confusion` [..., K, K]; precision, recall and macro_f1 are unweighted class means.

    A class that has neither an image nor an answer counts in no mean. NaN for a matrix without images.
    """
    right = np.diagonal(confusion, axis1=-2, axis2=-1).astype(float)
    images, answers = confusion.sum(axis=-1).astype(float), confusion.sum(axis=-2).astype(float)
    seen, total = (images + answers) > 0, images.sum(axis=-1)
    recall, f1 = _ratio(right, images), _ratio(2 * right, images + answers)
    return {
        "accuracy": _ratio(right.sum(axis=-1), total, empty=np.nan),
        "macro_f1": _mean_where(f1, seen),
        "precision": _mean_where(_ratio(right, answers), seen),
        "recall": _mean_where(recall, seen),
        "weighted_f1": _ratio((f1 * images).sum(axis=-1), total, empty=np.nan),
        "balanced_accuracy": _mean_where(recall, images > 0),
    }


def per_class_table(
    targets: np.ndarray, answers: np.ndarray, families: np.ndarray, labels: Sequence[str], level: float
) -> pd.DataFrame:
    """One row a class: label, images, precision, recall, recall_low, recall_high, f1, answers (how often it was said).

    The interval is Wilson's over the class's effective number of families. Undefined figures are NaN.
    """
    confusion = confusion_matrix(targets, answers, len(labels))
    right, images, said = np.diagonal(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    recall = _ratio(right, images, empty=np.nan)
    counts = [effective_count(families[targets == number]) for number in range(len(labels))]
    spans = [wilson(share, count, level) for share, count in zip(recall, counts, strict=True)]
    return pd.DataFrame(
        {
            "label": list(labels),
            "images": images,
            "precision": _ratio(right, said, empty=np.nan),
            "recall": recall,
            "recall_low": [low for low, _ in spans],
            "recall_high": [high for _, high in spans],
            "f1": _ratio(2 * right, images + said, empty=np.nan),
            "answers": said,
        }
    )


def probability_scores(probabilities: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """`nll`, `brier` (summed over classes, 0 to 2; Brier 1950) and, from five classes on, `top3_accuracy`."""
    from sklearn import metrics

    numbers = np.arange(probabilities.shape[1])
    found = {
        "nll": metrics.log_loss(targets, probabilities, labels=numbers),
        "brier": float(np.mean(np.sum((probabilities - np.eye(len(numbers))[targets]) ** 2, axis=1))),
    }
    if len(numbers) >= 5:
        found["top3_accuracy"] = metrics.top_k_accuracy_score(targets, probabilities, k=3, labels=numbers)
    return {name: float(value) for name, value in found.items()}


def confused_pairs(confusion: np.ndarray, labels: Sequence[str]) -> pd.DataFrame:
    """The errors by (label, answer), most frequent first: label, answer, images, share (of the label's images)."""
    wrong = confusion * ~np.eye(len(labels), dtype=bool)
    rows, columns = np.nonzero(wrong)
    table = pd.DataFrame(
        {
            "label": [labels[row] for row in rows],
            "answer": [labels[column] for column in columns],
            "images": wrong[rows, columns],
            "share": wrong[rows, columns] / confusion.sum(axis=1)[rows],
        }
    )
    return table.sort_values(["images", "share"], ascending=False, kind="stable", ignore_index=True)


def _ratio(part: np.ndarray, whole: np.ndarray, empty: float = 0.0) -> np.ndarray:
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    return np.divide(part, whole, out=np.full(part.shape, empty), where=whole > 0)


def _mean_where(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    return _ratio((values * where).sum(axis=-1), where.sum(axis=-1), empty=np.nan)
