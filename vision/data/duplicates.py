"""Families: images that must stay together, since one of them tells about the other.

Joined are images with the same bytes, with perceptual hashes at most `bits` apart, or with the same named group, and
all that hang together by such pairs.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pandas as pd

HASH_BITS = 64
_ROWS_AT_ONCE = 512
_EDGES_AT_ONCE = 1_000_000

Edges = np.ndarray
"""int64 [E, 2]: pairs of row numbers."""


def families(manifest: pd.DataFrame, bits: int) -> pd.Series:
    """Family id of each row: the first 16 digits of the smallest sha256 in the family, so that order doesn't matter.

    A family that gains an image with a smaller sha256 gets a new id: ids name families within one manifest.
    """
    edges = [_same(manifest["sha256"]), _same(manifest["group"])]
    edges += list(near_duplicates(manifest["phash"], bits))
    component = _components(len(manifest), np.concatenate(edges))
    return manifest["sha256"].groupby(component).transform("min").str[:16].rename("family")


def near_duplicates(phash: pd.Series, bits: int) -> Iterator[Edges]:
    """Pairs of rows that join all whose hashes (16 hex digits, or None) are at most `bits` apart, in few and small
    arrays.

    Multi-index hashing (Norouzi, Punjani, Fleet 2012): of `bits` + 1 bands at least one must be equal in a near
    pair, so only rows that share a band are compared. Not every near pair comes out, but everything they connect does.
    """
    rows = np.flatnonzero(phash.notna().to_numpy())
    if not len(rows):
        return
    values = np.array([int(text, 16) for text in phash.iloc[rows]], dtype=np.uint64)
    unique, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    yield np.stack([rows, rows[first[inverse]]], axis=1)
    pending: list[Edges] = []
    for pairs in _near_pairs(unique, bits):
        pending.append(pairs)
        if sum(map(len, pending)) > _EDGES_AT_ONCE:  # a forest says the same with one edge a row
            pending = [_forest(len(unique), np.concatenate(pending))]
    if pending:
        yield rows[first[np.concatenate(pending)]]


def _near_pairs(hashes: np.ndarray, bits: int) -> Iterator[Edges]:
    """uint64 [U] -> pairs of indices at most `bits` apart; a pair may come more than once."""
    for shift, width in _bands(bits + 1):
        band = (hashes >> np.uint64(shift)) & np.uint64((1 << width) - 1)
        order = np.argsort(band, kind="stable")
        starts = np.flatnonzero(np.diff(band[order])) + 1
        for bucket in np.split(order, starts):
            for low in range(0, len(bucket) - 1, _ROWS_AT_ONCE):
                some = bucket[low : low + _ROWS_AT_ONCE]
                others = bucket[low:]
                near = np.bitwise_count(hashes[some][:, None] ^ hashes[others][None, :]) <= bits
                left, right = np.nonzero(np.triu(near, 1))
                if len(left):
                    yield np.stack([some[left], others[right]], axis=1)


def _bands(count: int) -> list[tuple[int, int]]:
    """(shift, width) of `count` bands that cover 64 bits."""
    edges = [HASH_BITS * i // count for i in range(count + 1)]
    return [(low, high - low) for low, high in pairwise(edges)]


def _same(values: pd.Series) -> Edges:
    """Joins each row to the first with the same value; missing values join nothing."""
    rows = np.flatnonzero(values.notna().to_numpy())
    codes, _ = pd.factorize(values.iloc[rows])
    _, first = np.unique(codes, return_index=True)
    return np.stack([rows, rows[first[codes]]], axis=1) if len(rows) else np.empty((0, 2), dtype=np.int64)


def _components(count: int, edges: Edges) -> np.ndarray:
    """int32 [count]: number of the connected component of each row."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    weights = np.ones(len(edges), dtype=bool)
    graph = coo_array((weights, (edges[:, 0], edges[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def _forest(count: int, edges: Edges) -> Edges:
    """Some of these pairs that join all that they join: at most one a row, and one at least of each row that has any."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    graph = csr_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    return np.stack(minimum_spanning_tree(graph).nonzero(), axis=1)
