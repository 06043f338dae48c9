"""Families: who hangs together, found without comparing all pairs."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision.data.duplicates import families


def manifest(
    hashes: list[int | None], groups: list[str | None] | None = None, content: list | None = None
) -> pd.DataFrame:
    """One row a hash; `content` decides the sha256 (None: all different)."""
    count = len(hashes)
    return pd.DataFrame(
        {
            "path": [f"images/a/{i}.jpg" for i in range(count)],
            "sha256": [hashlib.sha256(str(c).encode()).hexdigest() for c in content or range(count)],
            "phash": [None if h is None else f"{h:016x}" for h in hashes],
            "group": groups or [None] * count,
        }
    )


def partition(ids: pd.Series) -> set[frozenset[int]]:
    return {frozenset(rows) for rows in ids.groupby(ids).groups.values()}


def all_pairs(hashes: list[int], bits: int) -> set[frozenset[int]]:
    """The slow way."""
    label = list(range(len(hashes)))
    for i, left in enumerate(hashes):
        for j, right in enumerate(hashes[:i]):
            if (left ^ right).bit_count() <= bits:
                label = [label[j] if x == label[i] else x for x in label]
    return {frozenset(i for i, x in enumerate(label) if x == name) for name in set(label)}


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 16),
    st.lists(st.tuples(st.integers(0, 5), st.sets(st.integers(0, 63), max_size=9)), min_size=1, max_size=40),
)
def test_families_are_those_of_comparing_all_pairs(bits, flips):
    seeds = [int.from_bytes(hashlib.md5(bytes([i])).digest()[:8]) for i in range(6)]
    hashes = [seeds[which] ^ sum(1 << bit for bit in flipped) for which, flipped in flips]
    assert partition(families(manifest(hashes), bits)) == all_pairs(hashes, bits)


def test_the_same_bytes_are_one_family_even_when_they_can_not_be_read():
    assert partition(families(manifest([None, None, None], content=["x", "y", "x"]), 4)) == {
        frozenset({0, 2}),
        frozenset({1}),
    }


def test_a_named_group_is_one_family_and_missing_names_join_nothing():
    ids = families(manifest([0, 2**64 - 1, 0xFFFF], groups=["plant", "plant", None]), 0)
    assert partition(ids) == {frozenset({0, 1}), frozenset({2})}


def test_what_hangs_together_by_a_chain_is_one_family():
    assert len(partition(families(manifest([0b0, 0b11, 0b1111, 0b111111]), 2))) == 1


def test_a_family_is_named_by_content_whatever_the_order():
    table = manifest([0, 1, 2**40, 2**63 - 1])
    ids = families(table, 4)
    shuffled = table.sample(frac=1, random_state=3)
    assert families(shuffled, 4).to_dict() == ids.to_dict()
    assert ids[0] == min(table["sha256"][:3])[:16]


def test_many_identical_hashes_are_joined_without_their_pairs():
    ids = families(manifest([7] * 30_000 + [2**63 + 0xFF00] * 10), 4)
    assert ids.nunique() == 2


@pytest.mark.slow
def test_sixty_thousand_images_are_joined_in_seconds():
    rng = np.random.default_rng(0)
    base = [int(x) for x in rng.integers(0, 2**63, 58_000)]
    near = [h ^ (1 << int(bit)) for h, bit in zip(base[:2000], rng.integers(0, 64, 2000), strict=True)]
    ids = families(manifest(base + near), 6)
    assert ids.nunique() <= 58_000
    assert (ids.iloc[:2000].to_numpy() == ids.iloc[58_000:].to_numpy()).all()
