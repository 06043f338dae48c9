"""Which served images are worth a person's label: those that a model is unsure of, that two models see differently, or
that lie far from everything it was tested on.

The three rankings take turns until the budget is spent, so that none crowds out the others (a round robin needs no
common scale, unlike a sum of scores). An image that looks like one that is known, queued or chosen already is passed over.
Low confidence goes by the margin between the two likeliest answers (Scheffer, Decomain and Wrobel 2001); novelty by the
distance to the nearest neighbours among the reference's embeddings (Ramaswamy, Rastogi and Shim 2000).
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

UNSURE_MARGIN = 0.4
"""A margin below this is low: at two classes a confidence below 0.7."""
NEIGHBOURS = 5
NOVEL_QUANTILE = 0.99
"""Novel: further from its neighbours than this share of the reference's own images."""
CHUNK, DECIMALS = 1024, 6

Why = tuple[str, str]
"""The ranking's name and a sentence."""


@dataclass
class KnownHashes:
    """64-bit perceptual hashes that nobody needs to see again; `bits`: the largest distance of near-duplicates."""

    bits: int
    values: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))

    @classmethod
    def of(cls, hashes: Iterable[str | None], bits: int) -> "KnownHashes":
        """hashes: 16 hex digits each, None for images without one."""
        return cls(bits, np.array([int(text, 16) for text in hashes if isinstance(text, str)], np.uint64))

    def has(self, phash: str) -> bool:
        return bool((np.bitwise_count(self.values ^ np.uint64(int(phash, 16))) <= self.bits).any())

    def add(self, phash: str) -> None:
        self.values = np.append(self.values, np.uint64(int(phash, 16)))


@dataclass(frozen=True)
class Chosen:
    """ids in the order in which they were chosen, with why, and their hashes. passed_over: how many, by reason."""

    ids: tuple[str, ...]
    why: tuple[Why, ...]
    hashes: tuple[str, ...]
    passed_over: dict[str, int]


def choose(
    rankings: Iterable[Iterator[tuple[str, Why]]], budget: int, known: KnownHashes, phash: Callable[[str], str | None]
) -> Chosen:
    """Takes turns among the rankings, best first, until `budget` images are chosen or all rankings are at their end.

    phash: perceptual hash of the image of an id, None for one that shows nothing. Only called for images whose turn
    comes, so that a large inbox is not decoded for a small queue. `known` grows.
    """
    turns, chosen, seen = list(rankings), {}, set()
    passed = {"near_duplicate": 0, "shows_nothing": 0}
    while turns and len(chosen) < budget:
        ranking = turns.pop(0)
        for made, why in ranking:
            if made in seen:
                continue
            seen.add(made)
            found = phash(made)
            if found is None or known.has(found):
                passed["near_duplicate" if found else "shows_nothing"] += 1
                continue
            known.add(found)
            chosen[made] = why, found
            turns.append(ranking)
            break
    why, hashes = zip(*chosen.values(), strict=True) if chosen else ((), ())
    return Chosen(tuple(chosen), tuple(why), tuple(hashes), passed)


def rank_unsure(table: pd.DataFrame) -> Iterator[tuple[str, Why]]:
    """table: columns id, margin, answer_confidence. The smallest margin first."""
    for row in table[table["margin"] < UNSURE_MARGIN].sort_values(["margin", "id"]).itertuples():
        yield row.id, ("low confidence", f"confidence {row.answer_confidence:.2f}, margin to the next {row.margin:.2f}")


def rank_disagreeing(table: pd.DataFrame) -> Iterator[tuple[str, Why]]:
    """table: columns id, answer_label, answer_confidence, other_label, other_confidence (None where nobody else
    answered), disputed. The surest of both first: one of the two is surely wrong.
    """
    both = table[table["disputed"].astype(bool)]
    sure = both[["answer_confidence", "other_confidence"]].astype(float).min(axis=1)
    for row in both.assign(sure=sure).sort_values(["sure", "id"], ascending=[False, True]).itertuples():
        said = f"champion: {row.answer_label} {row.answer_confidence:.2f}"
        other = f"challenger: {row.other_label} {row.other_confidence:.2f}"
        where = ", but not in the same places" * (row.other_label == row.answer_label)
        yield row.id, ("disagreement", f"{said}, {other}{where}")


def rank_novel(table: pd.DataFrame, reference: pd.DataFrame) -> Iterator[tuple[str, Why]]:
    """table: columns id and e0 ... of the package whose `reference` it is. The furthest first."""
    names = [name for name in reference if re.fullmatch(r"e\d+", name)]
    if len(reference) <= NEIGHBOURS or not set(names) <= set(table):
        return
    held = reference[names].to_numpy(np.float64)
    limit = float(np.quantile(_distances(held, held, own=1), NOVEL_QUANTILE))
    table = table[np.isfinite(table[names].to_numpy(np.float64)).all(axis=1)]
    # Rounded: the last bits hang on where an image lies among the others, and equal ones shall go by their ids.
    times = _distances(table[names].to_numpy(np.float64), held) / max(limit, np.finfo(float).tiny)
    far = table.assign(far=np.round(times, DECIMALS))
    for row in far[far["far"] > 1].sort_values(["far", "id"], ascending=[False, True]).itertuples():
        yield (
            row.id,
            ("novelty", f"{row.far:.1f} times as far from the tested images as {NOVEL_QUANTILE:.0%} of those are"),
        )


def _distances(rows: np.ndarray, held: np.ndarray, own: int = 0) -> np.ndarray:
    """Distance of each of rows [N, D] to its `NEIGHBOURS`-th neighbour in held [R, D]; own: 1 where it is one of them."""
    squares, found = (held**2).sum(axis=1), np.empty(len(rows))
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        squared = (part**2).sum(axis=1)[:, None] + squares[None, :] - 2 * part @ held.T
        nearest = np.partition(squared, NEIGHBOURS - 1 + own, axis=1)[:, NEIGHBOURS - 1 + own]
        found[start : start + CHUNK] = np.sqrt(np.maximum(nearest, 0.0))
    return found
