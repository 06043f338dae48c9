"""Whether a confidence means what it says: temperature, calibration error, and what a threshold costs and saves."""

import numpy as np
import pandas as pd

BINS = 15
"""Equal-width bins of the top probability, as in Guo et al. 2017."""
TEMPERATURES = (0.05, 20.0)


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """float64 [N, K] probabilities of logits [N, K] divided by `temperature`."""
    from scipy.special import softmax as stable_softmax

    return stable_softmax(np.asarray(logits, np.float64) / temperature, axis=1)


def fit_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """The temperature that minimises the negative log-likelihood of validation logits [N, K] (Guo et al. 2017).

    The targets are smoothed by 1 / (N + 2), as Platt (1999, section 2.2) does for the same reason: on a split without
    errors the plain likelihood has no minimum and would make every answer certain. 1.0 for an empty split.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    logits, targets = np.asarray(logits, np.float64), np.asarray(targets)
    if len(logits) == 0:
        return 1.0
    others = 1 / (len(logits) + 2) / (logits.shape[1] - 1)
    wanted = np.full(logits.shape, others)
    wanted[np.arange(len(targets)), targets] = 1 - others * (logits.shape[1] - 1)

    def loss(log_temperature: float) -> float:
        return -float((wanted * log_softmax(logits / np.exp(log_temperature), axis=1)).sum(axis=1).mean())

    found = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def reliability_bins(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> pd.DataFrame:
    """One row a bin: low, high, images, confidence (mean), accuracy; NaN in the means of an empty bin."""
    edges = np.linspace(0, 1, bins + 1)
    numbers = np.clip(np.digitize(confidence, edges[1:-1], right=True), 0, bins - 1)
    images = np.bincount(numbers, minlength=bins)

    def mean(values: np.ndarray) -> np.ndarray:
        sums = np.bincount(numbers, weights=np.asarray(values, float), minlength=bins)
        return np.divide(sums, images, out=np.full(bins, np.nan), where=images > 0)

    return pd.DataFrame(
        {
            "low": edges[:-1],
            "high": edges[1:],
            "images": images,
            "confidence": mean(confidence),
            "accuracy": mean(right),
        }
    )


def expected_calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """ECE: mean over images of |accuracy - confidence| of their bin. 0 to 1; NaN without images."""
    table = reliability_bins(confidence, right, bins)
    if table["images"].sum() == 0:
        return float("nan")
    gaps = (table["accuracy"] - table["confidence"]).abs().fillna(0.0)
    return float((gaps * table["images"]).sum() / table["images"].sum())


def threshold_table(confidence: np.ndarray, right: np.ndarray, thresholds: np.ndarray | None = None) -> pd.DataFrame:
    """What answering only from a confidence on costs and saves, one row a threshold.

    Columns: threshold; coverage (share of images answered); accuracy (of those; NaN for none); errors_caught (share of
    all errors that fall below); right_withheld (share of all right answers that fall below).
    """
    thresholds = np.linspace(0, 1, 101) if thresholds is None else np.asarray(thresholds, float)
    confidence, right = np.asarray(confidence, float), np.asarray(right, bool)
    above = confidence[None, :] >= thresholds[:, None]
    answered, good = above.sum(axis=1), (above & right).sum(axis=1)
    errors, rights = int((~right).sum()), int(right.sum())

    def share(part: np.ndarray, whole: np.ndarray | int) -> np.ndarray:
        whole = np.broadcast_to(whole, part.shape)
        return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)

    return pd.DataFrame(
        {
            "threshold": thresholds,
            "coverage": share(answered, len(right)),
            "accuracy": share(good, answered),
            "errors_caught": share(errors - (answered - good), errors),
            "right_withheld": share(rights - good, rights),
        }
    )


def separation(confidence: np.ndarray, right: np.ndarray) -> float:
    """Chance that a right answer is more confident than a wrong one (area under the ROC curve); NaN if none is
    wrong."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(right, confidence)) if len(set(np.asarray(right, bool).tolist())) == 2 else float("nan")
