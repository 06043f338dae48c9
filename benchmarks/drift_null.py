"""Windows without drift, drawn independently: how often are they called drifted?

The records are drawn from a smooth distribution made from a package's reference (a kernel estimate in all numbers jointly,
so classes, tails and correlations are its own): as many independent ones as are asked for, of which none is there twice.
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pandas as pd
from scipy import special, stats

from configs.monitoring import MonitorConfig
from vision.monitoring.drift import judge

BANDWIDTH = 0.3
"""Standard deviations of the reference."""
CONFIDENCE, CONFIDENT = "answer_confidence", "answer_confident"
REFERENCES = 20
"""Of the windows that share one: the rate then varies from reference to reference."""


class Smooth:
    """Draws records like those of `reference`."""

    def __init__(self, reference: pd.DataFrame) -> None:
        self.numbers = [name for name in reference.select_dtypes("number") if name != "true_label"]
        self.others = [name for name in reference if name.startswith("answer_") and name not in self.numbers]
        self.reference = reference
        values = reference[self.numbers].to_numpy(np.float64)
        self._confidence = self.numbers.index(CONFIDENCE)
        values[:, self._confidence] = special.logit(np.clip(values[:, self._confidence], 1e-6, 1 - 1e-6))
        self._values, self._mean = values, values.mean(axis=0)
        self.confident_at = reference.loc[reference[CONFIDENT].astype(bool), CONFIDENCE].min()

    def draw(self, rows: int, rng: np.random.Generator) -> pd.DataFrame:
        chosen = rng.integers(len(self._values), size=rows)
        off = self._values - self._mean
        smoothing = BANDWIDTH * rng.standard_normal((rows, len(off))) @ off / np.sqrt(len(off))
        values = self._mean + (off[chosen] + smoothing) / np.sqrt(1 + BANDWIDTH**2)
        values[:, self._confidence] = special.expit(values[:, self._confidence])
        table = pd.DataFrame(values, columns=self.numbers)
        for name in self.others:
            table[name] = self.reference[name].to_numpy()[chosen]
        table[CONFIDENT] = table[CONFIDENCE] >= self.confident_at
        return table


def null_rates(
    reference: pd.DataFrame, windows: int, rows: int, config: MonitorConfig, workers: int
) -> dict[str, dict]:
    """`fresh`: each window with a reference of its own. `shared`: of REFERENCES, as a deployed package has but one."""
    parts = [(reference, windows // workers, rows, config, seed) for seed in range(workers)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        fresh = np.concatenate(list(pool.map(_fresh, parts)))
        jobs = [(reference, windows // REFERENCES, rows, config, 1000 + seed) for seed in range(REFERENCES)]
        shared = np.array(list(pool.map(_shared, jobs)))
    return {"fresh": counted(fresh), "shared": {**counted(shared.ravel()), **_by_reference(shared, config)}}


def counted(alarms: np.ndarray) -> dict:
    """Rate, and the upper bound that it stays below with 95 % confidence (one-sided, exact)."""
    found = stats.binomtest(int(alarms.sum()), len(alarms), alternative="less")
    return {
        "windows": len(alarms), "alarms": int(alarms.sum()), "rate": float(alarms.mean()),
        "upper_95": float(found.proportion_ci(0.95, "exact").high),
    }  # fmt: skip


def _by_reference(shared: np.ndarray, config: MonitorConfig) -> dict:
    """shared: bool [references, windows]. How unequal references are, and alarms (k of the last n) counted as they came."""
    k, n = config.alarm_windows, config.of_windows
    latest = np.lib.stride_tricks.sliding_window_view(shared, n, axis=1).sum(axis=2)
    return {
        "references": len(shared), "worst_reference": float(shared.mean(axis=1).max()),
        "alarm_rate": float((latest >= k).mean()),
    }  # fmt: skip


def _fresh(part: tuple) -> np.ndarray:
    reference, windows, rows, config, seed = part
    smooth, rng = Smooth(reference), np.random.default_rng(seed)
    return np.array(
        [judge(smooth.draw(len(reference), rng), smooth.draw(rows, rng), config, no).drifted for no in range(windows)]
    )


def _shared(part: tuple) -> np.ndarray:
    reference, windows, rows, config, seed = part
    smooth, rng = Smooth(reference), np.random.default_rng(seed)
    one = smooth.draw(len(reference), rng)
    return np.array([judge(one, smooth.draw(rows, rng), config, no).drifted for no in range(windows)])
