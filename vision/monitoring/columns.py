"""What is tested of a table of records: numbers, categories and the embedding, each as a few scores a row."""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from vision.data.features import FEATURES
from vision.monitoring.permutation import Column

MIN_ROWS = 20
"""Values that a column needs in the window and in the reference; with fewer it is not tested."""
DIGITS = 4
"""Records hold four significant digits (`vision.records.NUMBER`). The reference holds all: compared as it is, an aspect
of 1.3333 in each of its rows would be another one than the 1.333 of the same images' records."""
ORDER = 4
"""Scores of a number: polynomials of its rank up to this degree (place, spread, skew, tails)."""
EMBEDDING = "embedding"
MEANT = {
    "answer_boxes": "number of boxes",
    "answer_box_area": "size of boxes",
    "answer_box_aspect": "shape of boxes",
    "answer_box_x": "place of boxes, across",
    "answer_box_y": "place of boxes, down",
}
"""Columns whose names don't say it."""
NEGLIGIBLE = 1e-3
"""Directions of an embedding that vary less than this share of the widest are rounding."""

_TENS = 10.0 ** np.arange(-300, 301)
_ANSWER, _EMBEDDED = "answer_", re.compile(r"e\d+$")


@dataclass(frozen=True)
class Pair:
    """One column's values in the reference and then in the window, [R + W] or [R + W, D]; `has`: where there is a value."""

    name: str
    kind: str
    values: np.ndarray
    has: np.ndarray
    reference_rows: int

    @property
    def reference(self) -> np.ndarray:
        return self.values[: self.reference_rows][self.has[: self.reference_rows]]

    @property
    def window(self) -> np.ndarray:
        return self.values[self.reference_rows :][self.has[self.reference_rows :]]


def pairs(reference: pd.DataFrame, window: pd.DataFrame) -> list[Pair]:
    """FEATURES, what the kind's summary adds (answer_*) and the embedding, as far as the reference has them."""
    both = pd.concat([reference, window.reindex(columns=reference.columns)], ignore_index=True)
    size = len(reference)
    names = [name for name in reference if name in FEATURES or name.startswith(_ANSWER)]
    found = [
        _number(both, name, size) if _is_number(reference[name]) else _category(both, name, size) for name in names
    ]
    if dimensions := embedded(reference):
        values = rounded(both[dimensions].to_numpy(np.float64))
        found.append(Pair(EMBEDDING, "embedding", values, np.isfinite(values).all(axis=1), size))
    return found


def embedded(table: pd.DataFrame) -> list[str]:
    """Names of the embedding's columns, e0 ..."""
    return [name for name in table if _EMBEDDED.match(name)]


def named(column: str) -> str:
    """For a sentence: the name, with what it means where that isn't plain."""
    return f"{MEANT[column]} ({column})" if column in MEANT else column


def untested(pair: Pair) -> str | None:
    """Why this column says nothing about drift; None where it does."""
    if min(len(pair.reference), len(pair.window)) < MIN_ROWS:
        return (
            f"{len(pair.window)} values in the window and {len(pair.reference)} in the reference, {MIN_ROWS} are needed"
        )
    values = pair.values[pair.has]
    if (values == values[0]).all():
        return "the same value everywhere"
    return None


def column(pair: Pair) -> Column:
    make = {"number": rank_scores, "category": class_scores, "embedding": whitened}[pair.kind]
    return Column(pair.name, make(pair.values[pair.has]), pair.has)


def rank_scores(values: np.ndarray, order: int = ORDER) -> np.ndarray:
    """float32 [N, K <= order]: orthonormal polynomials of the ranks, ties at their mean rank (Neyman's smooth test)."""
    rank = stats.rankdata(values) / (len(values) + 1) * 2 - 1
    return _orthonormal(np.polynomial.legendre.legvander(rank, min(order, len(np.unique(values)) - 1))[:, 1:])


def class_scores(values: np.ndarray) -> np.ndarray:
    """float32 [N, classes - 1]: their products are Pearson's chi-squared."""
    classes = np.unique(values)
    return _orthonormal((values[:, None] == classes[None, 1:]).astype(np.float64))


def whitened(values: np.ndarray) -> np.ndarray:
    """[N, D] -> float32 [N, <= D]: uncorrelated, so that a change in a direction that hardly varies counts as much."""
    sides, lengths, _ = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)
    return (sides[:, lengths > lengths[0] * NEGLIGIBLE] * np.sqrt(len(values))).astype(np.float32)


def _orthonormal(raw: np.ndarray) -> np.ndarray:
    """raw [N, K]: centred, then orthogonal, each of mean square 1."""
    basis, _ = np.linalg.qr(raw - raw.mean(axis=0))
    return (basis * np.sqrt(len(raw))).astype(np.float32)


def _is_number(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def _number(both: pd.DataFrame, name: str, size: int) -> Pair:
    values = rounded(pd.to_numeric(both[name], errors="coerce").to_numpy(np.float64))
    return Pair(name, "number", values, np.isfinite(values), size)


def _category(both: pd.DataFrame, name: str, size: int) -> Pair:
    return Pair(name, "category", both[name].astype(str).to_numpy(str), both[name].notna().to_numpy(), size)


def rounded(values: np.ndarray) -> np.ndarray:
    """To DIGITS significant digits; what is not finite stays so."""
    finite = np.isfinite(values) & (values != 0)
    places = np.zeros(values.shape, int)
    places[finite] = DIGITS - 1 - np.floor(np.log10(np.abs(values[finite]))).astype(int)
    scale = _TENS[np.clip(places, -300, 300) + 300]
    return np.where(finite, np.rint(values * scale) / scale, values)
