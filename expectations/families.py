"""Rules over images that belong together: copies, near-duplicates, families.

The comparison of hashes is done again here, on purpose without the code that assigned the splits: a contract that asks
the accused proves nothing.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pandas as pd

from expectations.rules import Table, in_set, readable


def families_table(splits: pd.DataFrame, near_duplicate_bits: int) -> Table:
    """One row a readable image, relatives side by side. Columns: path, split, label, five of bool (true: a fault)."""
    rows = readable(splits)[["path", "split", "label", "sha256", "phash", "family", "blank"]]
    rows = rows.sort_values(["family", "sha256", "path"], ignore_index=True)
    for column in ("split", "label"):
        rows[f"copy_other_{column}"] = rows.groupby("sha256")[column].transform("nunique") > 1
    rows[["near_other_split", "near_other_label"]] = _near_another(rows, ["split", "label"], near_duplicate_bits)
    rows["family_other_split"] = rows.groupby("family")["split"].transform("nunique") > 1
    near = f"whose hashes differ by at most {near_duplicate_bits} of 64 bits"
    rules = (
        in_set("exact_duplicate_one_split", "copy_other_split", [False], "equal files in one split"),
        in_set("near_duplicate_one_split", "near_other_split", [False], f"images {near} in one split"),
        in_set("family_one_split", "family_other_split", [False], "a family in one split"),
        in_set("exact_duplicate_one_label", "copy_other_label", [False], "equal files with one label"),
        in_set("near_duplicate_one_label", "near_other_label", [False], f"images {near} with one label"),
    )
    columns = ["path", "split", "label", *(rule.column for rule in rules)]
    return Table("families", "images", ("path", "split", "label"), rows[columns], rules)


def parts_tables(splits: pd.DataFrame) -> tuple[Table, ...]:
    """Of data whose source names parts (plants, patients, boards): one row an image of a named part."""
    rows = readable(splits)
    if "group" not in rows or rows["group"].isna().all():
        return ()
    rows = rows[rows["group"].notna()].sort_values(["group", "path"], ignore_index=True)
    rows = rows.assign(part_other_split=rows.groupby("group")["split"].transform("nunique") > 1)
    rule = in_set("part_one_split", "part_other_split", [False], "all images of a named part in one split")
    columns = ["path", "group", "split", rule.column]
    return (Table("parts", "images", ("path", "group", "split"), rows[columns], (rule,)),)


def _near_another(rows: pd.DataFrame, columns: list[str], bits: int) -> np.ndarray:
    """bool [N, C]: has it a near-duplicate with another value? Rows without a value or a hash have none.

    A blank image's hash says nothing, so blank images are only compared as files.
    """
    result = np.zeros((len(rows), len(columns)), bool)
    hashed = (rows["phash"].notna() & ~rows["blank"].eq(True)).to_numpy()
    if not hashed.any():
        return result
    hashes = rows.loc[hashed, "phash"].map(lambda text: int(text, 16)).to_numpy(np.uint64)
    codes = np.stack([pd.factorize(rows.loc[hashed, column])[0] for column in columns], axis=1)
    unique, inverse = np.unique(hashes, return_inverse=True)
    # A row without a value (code -1) must lower no minimum; it raises no maximum either.
    low = np.full((len(unique), len(columns)), len(rows))
    high = np.full((len(unique), len(columns)), -1)
    np.minimum.at(low, inverse, np.where(codes < 0, len(rows), codes))
    np.maximum.at(high, inverse, codes)
    low, high = _spread(unique, low, high, bits)
    result[hashed] = (low < high)[inverse] & (codes >= 0)
    return result


def _spread(unique: np.ndarray, low: np.ndarray, high: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest code among the hashes within `bits` of each; `unique` uint64 [U], `low` and `high` int [U, C]."""
    near_low, near_high = low.copy(), high.copy()
    for one, other in _near_pairs(unique, bits):
        for here, there in ((one, other), (other, one)):
            np.minimum.at(near_low, here, low[there])
            np.maximum.at(near_high, here, high[there])
    return near_low, near_high


def _near_pairs(unique: np.ndarray, bits: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every pair of uint64 [U] at most `bits` apart, once or more, as two arrays of row numbers.

    Of `bits` + 1 bands at least one is equal in such a pair (the pigeonhole principle). In the order of a band, hashes
    with an equal one stand together: each is compared with the next, the one after it, and so on while the band is
    equal. So memory grows with U, not with the number of pairs.
    """
    edges = np.linspace(0, 64, bits + 2).astype(int)
    for shift, stop in pairwise(edges):
        band = (unique >> np.uint64(shift)) & np.uint64(2 ** int(stop - shift) - 1)
        order = np.argsort(band, kind="stable")
        band, left, step = band[order], np.arange(len(unique)), 0
        while len(left):
            step += 1
            left = left[left + step < len(unique)]
            left = left[band[left] == band[left + step]]
            one, other = order[left], order[left + step]
            near = np.bitwise_count(unique[one] ^ unique[other]) <= bits
            yield one[near], other[near]
