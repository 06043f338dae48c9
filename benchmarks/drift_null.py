"""Windows without drift, drawn independently: how often are they called drifted?

The records are drawn from a smooth distribution made from a package's reference (a kernel estimate in all numbers jointly,
so classes, tails and correlations are its own): as many independent ones as are asked for. Where images of the reference
belong together whole families are drawn, each moved as one: the truth is known there too.
"""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
import pandas as pd
from scipy import special, stats

from configs.monitoring import MonitorConfig
from vision.monitoring.drift import judge
from vision.monitoring.error_rates import null_windows
from vision.monitoring.families import FAMILY, families_of

BANDWIDTH = 0.3
"""Standard deviations of the reference (of its families' means)."""
CONFIDENCE, CONFIDENT = "answer_confidence", "answer_confident"
REFERENCES = 20
"""Of the windows that share one: the rate then varies from reference to reference."""


class Smooth:
    """Draws records like those of `reference`, and `family`."""

    def __init__(self, reference: pd.DataFrame) -> None:
        self.numbers = [name for name in reference.select_dtypes("number") if name != "true_label"]
        self.others = [name for name in reference if name.startswith("answer_") and name not in self.numbers]
        self.reference = reference
        values = reference[self.numbers].to_numpy(np.float64)
        self._confidence = self.numbers.index(CONFIDENCE)
        values[:, self._confidence] = special.logit(np.clip(values[:, self._confidence], 1e-6, 1 - 1e-6))
        self._values, self._mean = values, values.mean(axis=0)
        known = families_of(reference)
        families = np.arange(len(values)) if known is None else known
        self._sizes = np.bincount(families)
        self._order, self._starts = np.argsort(families, kind="stable"), np.cumsum(self._sizes) - self._sizes
        centres = np.array([values[families == family].mean(axis=0) for family in range(len(self._sizes))])
        self._spread = centres - centres.mean(axis=0)
        self.confident_at = reference.loc[reference[CONFIDENT].astype(bool), CONFIDENCE].min()

    def draw(self, rows: int, rng: np.random.Generator) -> pd.DataFrame:
        """Families until there are `rows`."""
        # A family has one row at least.
        chosen = rng.integers(len(self._sizes), size=rows)
        sizes = self._sizes[chosen]
        chosen = chosen[np.cumsum(sizes) - sizes < rows]
        sizes, family = self._sizes[chosen], np.repeat(np.arange(len(chosen)), self._sizes[chosen])
        within = np.arange(len(family)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        picked = self._order[self._starts[chosen][family] + within]
        moved = BANDWIDTH * rng.standard_normal((len(chosen), len(self._spread))) @ self._spread
        smoothing = (moved / np.sqrt(len(self._spread)))[family]
        values = self._mean + (self._values[picked] - self._mean + smoothing) / np.sqrt(1 + BANDWIDTH**2)
        values[:, self._confidence] = special.expit(values[:, self._confidence])
        table = pd.DataFrame(values, columns=self.numbers)
        for name in self.others:
            table[name] = self.reference[name].to_numpy()[picked]
        table[CONFIDENT] = table[CONFIDENCE] >= self.confident_at
        return table.assign(**{FAMILY: family})


@dataclass(frozen=True)
class Part:
    """What one process does."""

    reference: pd.DataFrame
    windows: int
    rows: int
    config: MonitorConfig
    seed: int


def null_rates(
    reference: pd.DataFrame, windows: int, rows: int, config: MonitorConfig, workers: int
) -> dict[str, dict]:
    """`fresh`: each window with a reference of its own. `shared`: of REFERENCES, as a deployed package has but one.
    `promised`: what each of these says of itself, by windows drawn from it (`vision.monitoring.error_rates`)."""
    each = max(1, windows // REFERENCES)
    parts = [Part(reference, each, rows, config, seed) for seed in range(REFERENCES)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        fresh = np.concatenate(list(pool.map(_fresh, parts)))
        shared, promised = map(np.array, zip(*pool.map(_shared, parts), strict=True))
    return {
        "reference": {"rows": len(reference), "families": int(reference[FAMILY].nunique())},
        "fresh": counted(fresh),
        "shared": {**_without_bound(shared), **_by_reference(shared, config)},
        "promised": _without_bound(promised),
    }


def counted(alarms: np.ndarray) -> dict:
    """Rate, and the upper bound that it stays below with 95 % confidence (one-sided, exact), of independent windows."""
    found = stats.binomtest(int(alarms.sum()), len(alarms), alternative="less")
    return {
        "windows": len(alarms), "alarms": int(alarms.sum()), "rate": float(alarms.mean()),
        "upper_95": float(found.proportion_ci(0.95, "exact").high),
    }  # fmt: skip


def _without_bound(alarms: np.ndarray) -> dict:
    """alarms: bool [references, windows]. Windows of one reference go together, so they bound less than their number."""
    return {name: value for name, value in counted(alarms.ravel()).items() if name != "upper_95"}


def _by_reference(shared: np.ndarray, config: MonitorConfig) -> dict:
    """shared: bool [references, windows]. How unequal references are, and alarms (k of the last n) counted as they came."""
    k, n = config.alarm_windows, config.of_windows
    latest = np.lib.stride_tricks.sliding_window_view(shared, n, axis=1).sum(axis=2)
    return {
        "references": len(shared), "k": k, "n": n, "worst_reference": float(shared.mean(axis=1).max()),
        "alarm_rate": float((latest >= k).mean()),
    }  # fmt: skip


def _fresh(part: Part) -> np.ndarray:
    smooth, rng, size = Smooth(part.reference), np.random.default_rng(part.seed), len(part.reference)
    return np.array([
        judge(smooth.draw(size, rng), smooth.draw(part.rows, rng), part.config, no).drifted
        for no in range(part.windows)
    ])  # fmt: skip


def _shared(part: Part) -> tuple[np.ndarray, np.ndarray]:
    """Of new windows against one reference, and of windows drawn from it."""
    smooth, rng = Smooth(part.reference), np.random.default_rng(1000 + part.seed)
    one = smooth.draw(len(part.reference), rng)
    new = [judge(one, smooth.draw(part.rows, rng), part.config, no).drifted for no in range(part.windows)]
    own = null_windows(one, part.rows, part.config, part.windows, part.seed)
    return np.array(new), np.array([judge(*pair, part.config, no).drifted for no, pair in enumerate(own)])
