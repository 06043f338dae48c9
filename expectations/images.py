"""Rules over single images: one row each, failing rows named by their path."""

from collections.abc import Sequence

import pandas as pd

from configs.contract import ContractConfig
from expectations.boxes import unmatched
from expectations.rules import SPLITS, ColumnRule, Table, at_most, between, boxed, empty, in_set
from vision.data.boxes.geometry import NORMAL

SHOWN = 20


def images_table(splits: pd.DataFrame, contract: ContractConfig, labels: Sequence[str]) -> Table:
    """All rows, the unreadable ones included: these have no size or mode, and only `readable` counts them.

    An image that doesn't match its annotations is another table's (`expectations.boxes`).
    """
    rows = splits[["path", "label", "error", "mode", "width_px", "height_px", "blank", "burnt"]].copy()
    rows["error"] = rows["error"].where(unmatched(splits).isna(), None)
    labels = (*labels, NORMAL) if boxed(splits) and NORMAL not in labels else labels
    rows["left_out"] = splits.get("left_out")
    rows["has_split"] = splits["error"].notna() | splits["split"].isin(SPLITS) | rows["left_out"].notna()
    return Table("images", "images", ("path",), rows, _rules(contract, labels))


def _rules(contract: ContractConfig, labels: Sequence[str]) -> tuple[ColumnRule, ...]:
    low, high = contract.min_side_px, contract.max_side_px
    unreadable, blank, burnt = contract.max_unreadable_share, contract.max_blank_share, contract.max_burnt_share
    return (
        # A readable image has no error, so an error is what is unexpected here.
        empty("readable", "error", f"{at_most(unreadable)} unreadable", unreadable),
        in_set("labels_known", "label", list(labels), f"one of {_listed(labels)}"),
        in_set("modes", "mode", list(contract.modes), f"one of {', '.join(contract.modes)}"),
        between("width", "width_px", f"{low} to {high} px", low, high),
        between("height", "height_px", f"{low} to {high} px", low, high),
        in_set("blank_share", "blank", [False], f"{at_most(blank)} blank", blank),
        in_set("burnt_share", "burnt", [False], f"{at_most(burnt)} burnt out", burnt),
        in_set("in_a_split", "has_split", [True], "every readable image in train, val or test"),
        empty("left_out", "left_out", "no image left out of the splits", 0.0),
    )


def _listed(labels: Sequence[str]) -> str:
    return ", ".join(labels[:SHOWN]) + (f" and {len(labels) - SHOWN:,} more" if len(labels) > SHOWN else "")
