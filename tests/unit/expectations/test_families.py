"""The contract's own search for near-duplicates finds exactly those that comparing all pairs finds."""

import numpy as np
import pandas as pd
import pytest

from expectations.families import families_table

COLUMNS = ("near_other_split", "near_other_label")


def clustered(count, rng):
    """uint64 [count]: hashes around a few centres, a few bits away."""
    hashes = rng.integers(0, 2**63, 8, dtype=np.uint64)[rng.integers(0, 8, count)]
    for _ in range(5):
        flip = np.uint64(1) << rng.integers(0, 64, count).astype(np.uint64)
        hashes = np.where(rng.random(count) < 0.6, hashes ^ flip, hashes)
    return hashes


@pytest.mark.parametrize("bits", [0, 1, 4, 16])
def test_near_duplicates_are_those_that_all_pairs_give(bits):
    rng = np.random.default_rng(bits)
    hashes = clustered(300, rng)
    splits = pd.DataFrame({"path": [f"{n:03d}" for n in range(300)], "error": None, "blank": False})
    splits["sha256"], splits["family"] = splits["path"], splits["path"]
    splits["split"], splits["label"] = rng.choice(["train", "val"], 300), rng.choice(["a", "b"], 300)
    splits["phash"] = [f"{value:016x}" for value in hashes]
    near = np.bitwise_count(hashes[:, None] ^ hashes[None, :]) <= bits
    found = families_table(splits, bits).rows.set_index("path").sort_index()
    for column, value in zip(COLUMNS, ("split", "label"), strict=True):
        other = splits[value].to_numpy()[:, None] != splits[value].to_numpy()[None, :]
        assert found[column].tolist() == (near & other).any(axis=1).tolist()
