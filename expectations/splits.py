"""Rules over the three splits: their shares, and every class in each of them."""

from collections.abc import Sequence

import pandas as pd

from configs.contract import ContractConfig
from expectations.rules import SPLITS, Table, between, memberships
from vision.data.config import SplitConfig


def splits_table(splits: pd.DataFrame, contract: ContractConfig, asked: SplitConfig) -> Table:
    """One row a split. Columns: split, images, share, asked, off (how far the share is from what was asked)."""
    images = splits["split"].value_counts().reindex(list(SPLITS), fill_value=0)
    rows = pd.DataFrame({"split": images.index, "images": images.to_numpy()})
    rows["share"] = rows["images"] / max(1, int(rows["images"].sum()))
    rows["asked"] = [asked.train, asked.val, asked.test]
    rows["off"] = (rows["share"] - rows["asked"]).abs().round(9)
    tolerance = contract.split_share_tolerance
    shares = f"{asked.train:g} / {asked.val:g} / {asked.test:g}, each within {tolerance:g}"
    return Table(
        "splits", "splits", ("split", "share"), rows, (between("split_shares", "off", shares, high=tolerance),)
    )


def class_splits_table(splits: pd.DataFrame, labels: Sequence[str]) -> Table:
    """One row for each pair of label and split. Columns: place (`label in split`), images."""
    counts = memberships(splits, labels).groupby(["label", "split"], observed=True).size().to_dict()
    pairs = [(label, split) for label in labels for split in SPLITS]
    rows = pd.DataFrame(
        {
            "place": [f"{label} in {split}" for label, split in pairs],
            "images": [int(counts.get(pair, 0)) for pair in pairs],
        }
    )
    rule = between("class_in_each_split", "images", "at least one image of each class in each split", low=1)
    return Table("class_splits", "pairs of class and split", ("place",), rows, (rule,))
