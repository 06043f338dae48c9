"""How often the answers of a window are right, before anyone has said so, and how good that guess was once they have.

`estimate_accuracy` goes by confidence and by distance. It fails, and its interval with it, where the model is wrong and
sure: an unseen class that looks like a known one, a strong blur, a loss of contrast, a colour cast on real leaves. Then it
nearly always says too much.

Mean absolute error in windows of 200 over `CORRUPTIONS` at five severities and clean images, by `benchmarks/causes.py`:

                     drawn leaves, new ones        real leaves, other families
                     all      cost <= 10 points    all      cost <= 10 points
    CBPE             0.182    0.015                0.216    0.018
    DoC              0.180    0.014                0.235    0.025
    ATC              0.150    0.013                0.235    0.029
    DoC less novelty 0.131    0.014                0.139    0.049

DoC and not CBPE under the novelty, since a confidence need not be a probability in every kind. The interval held the accuracy
in 487 of 500 windows drawn without change; where a corruption cost at most 10 points in 94 % (drawn) and 77 % (real), over
all severities in 53 % and 43 %.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from vision.monitoring.drift import DriftConfig, sample
from vision.monitoring.novelty import Novelty, excess_novel, measure_novelty
from vision.settings import Section

LEVEL = 0.95
SAMPLES = 1000
DRAWN = 2_000_000
"""Numbers that a bootstrap draws at once, some 50 MB: references and labels may be many."""


class Estimate(Section):
    value: float
    low: float
    high: float
    method: str
    rows: int
    """Answers that it is about; for labels, those that have one."""
    share: float = 1.0
    """Of the window's answers."""
    reference: float | None = None
    """Accuracy on the reference."""
    note: str = ""


class Score(Section):
    """An estimate against labels that came later."""

    error: float
    """Estimate less labelled accuracy."""
    covered: bool
    """Does the estimate's interval hold the labelled accuracy?"""
    compatible: bool
    """Do the two intervals meet? Few labels make their own figure uncertain."""
    labels: int


Estimator = Callable[[np.ndarray, np.ndarray, np.ndarray], float]
"""reference's confidence [N], reference's right [N] (bool), window's confidence [M] -> accuracy of the window."""


def mean_confidence(known: np.ndarray, right: np.ndarray, seen: np.ndarray) -> float:
    """Confidence-based performance estimation (CBPE): calibrated confidence is the chance of being right."""
    return float(seen.mean())


def difference_of_confidences(known: np.ndarray, right: np.ndarray, seen: np.ndarray) -> float:
    """DoC (Guillory et al. 2021, arXiv:2107.03315): the accuracy falls by as much as the mean confidence."""
    return float(np.clip(right.mean() + seen.mean() - known.mean(), 0, 1))


def threshold_confidence(known: np.ndarray, right: np.ndarray, seen: np.ndarray) -> float:
    """ATC (Garg et al. 2022, arXiv:2201.04234): the share above the confidence that the reference's accuracy is above."""
    return float((seen >= np.quantile(known, 1 - right.mean())).mean())


ESTIMATORS: dict[str, Estimator] = {
    "CBPE": mean_confidence,
    "DoC": difference_of_confidences,
    "ATC": threshold_confidence,
}


def rights(table: pd.DataFrame) -> pd.Series | None:
    """bool: was the answer the label? None where the table can't say."""
    if not {"label", "answer_label", "answer_confidence"} <= set(table):
        return None
    return table["label"] == table["answer_label"]


def estimate_accuracy(
    reference: pd.DataFrame, window: pd.DataFrame, config: DriftConfig, seed: int = 0
) -> Estimate | None:
    """Of the window's own answers. None where the reference has no labels or the window no answers.

    DoC, and the share of answers that are novel beyond the usual (`vision.monitoring.novelty`) taken to be right as often
    as chance. The interval, 95 %, is a bootstrap over the reference's families and the window's rows, and the luck
    of that many answers; it holds nothing of what the shift itself does to the estimator.
    config: `max_rows`; a larger window is estimated on so many of its rows.
    """
    known, window = _answered(reference), sample(window, config.max_rows, seed)
    right = rights(known)
    seen = window["answer_confidence"].dropna() if "answer_confidence" in window else pd.Series(dtype=float)
    if right is None or len(known) == 0 or len(seen) == 0:
        return None
    rows = window.loc[seen.index]
    value, samples = _discounted(known, right, rows, np.random.default_rng(seed))
    low, high = np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(
        value=value, low=float(min(low, value)), high=float(max(high, value)), method="DoC less novelty", rows=len(rows),
        reference=float(right.mean()), note="of chance only: a model that is wrong and sure shows in labels alone",
    )  # fmt: skip


def _discounted(known: pd.DataFrame, right: pd.Series, rows: pd.DataFrame, rng: np.random.Generator):
    """The estimate, and SAMPLES bootstrap samples of it."""
    novelty, chance = measure_novelty(known, rows), 1 / known["label"].nunique()
    sure, hits = known["answer_confidence"].to_numpy(float), right.to_numpy(float)
    seen = rows["answer_confidence"].to_numpy(float)

    def discount(value, excess):
        return value - excess * np.maximum(value - chance, 0)

    draws = rng.integers(len(seen), size=(SAMPLES, len(seen)))
    novel, gap = _novel_shares(novelty, draws), _family_means(known, hits - sure, rng)
    sampled = discount(np.clip(gap + seen[draws].mean(axis=1), 0, 1), excess_novel(novel, len(seen), len(known)))
    share = _novel_shares(novelty, np.arange(len(seen)))
    value = discount(difference_of_confidences(sure, hits, seen), excess_novel(share, len(seen), len(known)))
    return float(value), rng.binomial(len(seen), sampled) / len(seen)


def _novel_shares(novelty: Novelty | None, rows: np.ndarray) -> np.ndarray | float:
    """Of `rows` [..., M]: the share that is novel, [...]."""
    return novelty.novel[rows].mean(axis=-1) if novelty else 0.0


def _family_means(known: pd.DataFrame, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Means of `values` in SAMPLES bootstrap samples of the families: [SAMPLES]."""
    families = known["family"] if "family" in known else pd.Series(np.arange(len(known)))
    table = pd.Series(values).groupby(families.to_numpy()).agg(["sum", "size"]).to_numpy(float)
    sums = np.concatenate([_drawn_sums(table, samples, rng) for samples in samples_at_once(len(table))])
    return sums[:, 0] / sums[:, 1]


def _drawn_sums(table: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Of rows drawn from `table` [N, K] with replacement: [samples, K]. Counting takes a fifth of a multinomial's time."""
    places = rng.integers(len(table), size=(samples, len(table))) + np.arange(samples)[:, None] * len(table)
    weights = np.bincount(places.ravel(), minlength=samples * len(table)).reshape(samples, len(table))
    return weights.astype(float) @ table


def samples_at_once(rows: int) -> Iterator[int]:
    """SAMPLES in parts, each with about DRAWN draws of so many rows."""
    step = max(1, DRAWN // rows)
    return (min(step, SAMPLES - done) for done in range(0, SAMPLES, step))


def _answered(reference: pd.DataFrame) -> pd.DataFrame:
    return reference.dropna(subset=["answer_confidence"]) if "answer_confidence" in reference else reference


def labelled_answers(window: pd.DataFrame, feedback: pd.DataFrame | None) -> pd.DataFrame:
    """The window's rows that someone has labelled, with the columns `label` and `key_id` of that feedback."""
    if feedback is None or not {"id", "answer_label"} <= set(window):
        return window.iloc[:0].assign(label=[], key_id=[])
    said = feedback.drop_duplicates("id", keep="last")[["id", "label", "key_id"]]
    return window.drop(columns=["label", "key_id"], errors="ignore").merge(said, on="id", how="inner")


def labelled_accuracy(window: pd.DataFrame, feedback: pd.DataFrame | None) -> Estimate | None:
    """Accuracy of the labelled answers, with Clopper and Pearson's exact interval (1934). None without any.

    Of the labelled ones: people correct a wrong answer sooner than they confirm a right one, and the label queue asks for
    hard ones. So it is too low for the window by an amount that only a random sample of labels would tell.
    """
    from scipy.stats import binomtest

    labelled = labelled_answers(window, feedback)
    if len(labelled) == 0:
        return None
    hits = int((labelled["label"] == labelled["answer_label"]).sum())
    bounds = binomtest(hits, len(labelled)).proportion_ci(LEVEL, method="exact")
    return Estimate(
        value=hits / len(labelled), low=float(bounds.low), high=float(bounds.high), method="labels, Clopper-Pearson",
        rows=len(labelled), share=len(labelled) / len(window),
        note="of the labelled answers; wrong ones are corrected sooner than right ones are confirmed",
    )  # fmt: skip


def score_estimate(estimate: Estimate, labelled: Estimate) -> Score:
    """`labelled`: of the same window, from labels that came later."""
    return Score(
        error=estimate.value - labelled.value,
        covered=estimate.low <= labelled.value <= estimate.high,
        compatible=estimate.low <= labelled.high and labelled.low <= estimate.high,
        labels=labelled.rows,
    )
