"""Near-duplicates as pairs that people can look at: how far apart, of which labels and splits."""

import numpy as np
import pandas as pd

from vision.data.duplicates import near_duplicates

WIDER_BITS = 2
"""How much further than the split's own limit pairs are looked for: those would leak if they were copies."""
COLUMNS = ("path", "label", "split", "sha256")


def near_pairs(rows: pd.DataFrame, bits: int) -> pd.DataFrame:
    """One row a pair of images whose hashes are at most `bits` apart: bits, and `first_`, `second_` of COLUMNS.

    rows: COLUMNS and `phash`. Those with the same bytes are not among them (`exact_copies` counts those). In a data set
    of very many alike images, not every pair comes out, but each image that has one does.
    """
    found = [edges for edges in near_duplicates(rows["phash"], bits) if len(edges)]
    edges = np.sort(np.concatenate(found), axis=1) if found else np.empty((0, 2), np.int64)
    edges = np.unique(edges[edges[:, 0] != edges[:, 1]], axis=0)
    hashes = np.array([int(text, 16) if isinstance(text, str) else 0 for text in rows["phash"]], dtype=np.uint64)
    apart = np.bitwise_count(hashes[edges[:, 0]] ^ hashes[edges[:, 1]])
    sides = [rows[list(COLUMNS)].iloc[edges[:, side]].reset_index(drop=True) for side in (0, 1)]
    pairs = pd.concat([sides[0].add_prefix("first_"), sides[1].add_prefix("second_")], axis=1).assign(bits=apart)
    pairs = pairs[(pairs["bits"] <= bits) & (pairs["first_sha256"] != pairs["second_sha256"])]
    return pairs.sort_values(["bits", "first_path", "second_path"], ignore_index=True)


def exact_copies(rows: pd.DataFrame) -> int:
    """Images that are another's bytes again."""
    return int(rows["sha256"].duplicated().sum())


def pick_pairs(pairs: pd.DataFrame, most: int) -> pd.DataFrame:
    """The pairs most worth a look: other labels first, then other splits, then the most alike; each image once."""
    strange = pairs.assign(
        same_label=pairs["first_label"] == pairs["second_label"],
        same_split=pairs["first_split"] == pairs["second_split"],
    )
    ordered = strange.sort_values(["same_label", "same_split", "bits"], kind="stable")
    seen: set[str] = set()
    chosen = []
    for row in ordered.itertuples():
        if len(chosen) < most and not {row.first_path, row.second_path} & seen:
            seen |= {row.first_path, row.second_path}
            chosen.append(row.Index)
    return pairs.loc[chosen]
