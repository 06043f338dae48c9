"""A window without drift, and the same window with a drift put into one column: what error rates are counted on."""

import numpy as np
import pandas as pd

from vision.monitoring.columns import Pair, column, pairs, untested
from vision.monitoring.families import families_of
from vision.monitoring.permutation import Null, statistics, tail

SHIFTS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 2.0, 3.0)
SHARES = (0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class Trial:
    """One window, its null draws, and the smallest tail over its columns, as observed and of each draw."""

    def __init__(self, rest: pd.DataFrame, window: pd.DataFrame, permutations: int, seed: int) -> None:
        self.pairs = {pair.name: pair for pair in pairs(rest, window) if untested(pair) is None}
        self.seed = seed
        self.null = Null(len(rest), permutations, seed, families_of(rest))
        self._drawn = {}
        tails = [self._tails(pair) for pair in self.pairs.values()]
        smallest = np.min(tails, axis=0) if tails else np.ones(permutations + 1)
        self.p_value, self.null_tails = float(np.mean(smallest <= smallest[0])), smallest[1:]

    def finds(self, name: str, shift: float, limit: float) -> bool | None:
        """Is the column's tail at most `limit` once the window's values are shifted? None where it does not vary here."""
        pair = self.pairs.get(name)
        return None if pair is None else bool(self._tails(shifted(pair, shift, self.seed))[0] <= limit)

    def _tails(self, pair: Pair) -> np.ndarray:
        mask = pair.has.tobytes()
        if mask not in self._drawn:
            self._drawn[mask] = self.null.drawn(pair.has)
        return tail(statistics(column(pair), self._drawn[mask], self.null.reference_rows))


def shifted(pair: Pair, shift: float, seed: int) -> Pair:
    """The pair with its window moved: see `vision.monitoring.error_rates.DetectableShift`."""
    values, rng = pair.values.copy(), np.random.default_rng(seed)
    move = {"number": _move_number, "category": _move_classes, "embedding": _move_embedding}[pair.kind]
    values[pair.reference_rows :] = move(pair, shift, rng)
    return Pair(pair.name, pair.kind, values, pair.has, pair.reference_rows)


def _move_number(pair: Pair, shift: float, rng: np.random.Generator) -> np.ndarray:
    """Towards the longer side: confidences crowd at 1, and beyond it any number would be seen."""
    away = 1 if pair.reference.mean() >= np.median(pair.reference) else -1
    return pair.values[pair.reference_rows :] + away * shift * pair.reference.std()


def _move_classes(pair: Pair, shift: float, rng: np.random.Generator) -> np.ndarray:
    classes, counts = np.unique(pair.values[pair.has], return_counts=True)
    window = pair.values[pair.reference_rows :]
    return np.where(rng.random(len(window)) < shift, classes[counts.argmin()], window)


def _move_embedding(pair: Pair, shift: float, rng: np.random.Generator) -> np.ndarray:
    """By `shift` standard deviations of the reference along a direction drawn as its rows vary."""
    spread = pair.reference - pair.reference.mean(axis=0)
    direction = rng.standard_normal(len(spread)) @ spread
    inverse = np.linalg.pinv(spread.T @ spread / len(spread), rcond=1e-6, hermitian=True)
    return pair.values[pair.reference_rows :] + shift * direction / np.sqrt(direction @ inverse @ direction)
