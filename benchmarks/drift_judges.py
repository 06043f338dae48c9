"""Three judges of one window: ours, Evidently's DataDriftPreset as shipped, and its embedding drift as shipped."""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd

from configs.monitoring import MonitorConfig
from vision.monitoring.columns import embedded, pairs, untested
from vision.monitoring.drift import judge
from vision.monitoring.families import FAMILY

JUDGES = ("ours", "preset", "any_column", "embedding")
DRIFT_SHARE = 0.5
"""Evidently's default: a data set drifted when half of its columns did."""


@dataclass(frozen=True)
class Windows:
    """Records of the same images, row by row: clean, and in `pool` after a corruption. `family` in both.

    Every window divides the images anew. Against a reference that stays, all windows from one pool would repeat its chance
    deviation: their rate would be that of a single draw.
    """

    clean: pd.DataFrame
    pool: pd.DataFrame

    def draw(self, rows: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        """(reference: the clean families that are left, window of about `rows` rows: whole families of the pool)."""
        families = pd.factorize(self.pool[FAMILY])[0]
        sizes = np.bincount(families)
        order = np.random.default_rng(seed).permutation(len(sizes))
        inside = np.isin(families, order[np.cumsum(sizes[order]) - sizes[order] < rows])
        return self.clean[~inside], self.pool[inside]


def ours(reference: pd.DataFrame, window: pd.DataFrame, config: MonitorConfig, seed: int) -> bool:
    return judge(reference, window, config, seed).drifted


def evidently(reference: pd.DataFrame, window: pd.DataFrame, seed: int) -> dict[str, bool]:
    """Evidently's own tests, each column's default, called without the report around them (2.6 s a window)."""
    from evidently.legacy.core import ColumnType

    drifted = []
    for pair in pairs(reference, window):
        if untested(pair) is None and pair.kind != "embedding":
            kind = ColumnType.Numerical if pair.kind == "number" else ColumnType.Categorical
            drifted.append(column_drifted(pd.Series(pair.reference), pd.Series(pair.window), kind))
    constant = sum(pair.kind != "embedding" and untested(pair) is not None for pair in pairs(reference, window))
    share = sum(drifted) / (len(drifted) + constant)
    return {
        "preset": share >= DRIFT_SHARE,
        "any_column": any(drifted),
        "embedding": embedding_drifted(reference, window, seed),
    }


def column_drifted(reference: pd.Series, window: pd.Series, kind) -> bool:
    from evidently.legacy.calculations.stattests import get_stattest

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bool(get_stattest(reference, window, kind, None)(reference, window, kind, None).drifted)


def embedding_drifted(reference: pd.DataFrame, window: pd.DataFrame, seed: int) -> bool:
    """The classifier that tells window from reference, with its defaults. It takes numpy's global generator."""
    from evidently.legacy.metrics.data_drift.embedding_drift_methods import model

    names = embedded(reference)
    np.random.seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, drifted, _ = model()(window[names], reference[names])
    return bool(drifted)
