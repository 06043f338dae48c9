"""Rules over the classes: one row a label, an absent class included."""

from collections.abc import Sequence

import pandas as pd

from configs.contract import ContractConfig
from expectations.rules import Table, between, memberships


def classes_table(splits: pd.DataFrame, contract: ContractConfig, labels: Sequence[str]) -> Table:
    """Columns: label, images (readable ones that show it), times_smallest (images divided by those of the smallest class)."""
    images = memberships(splits, labels)["label"].value_counts().reindex(list(labels), fill_value=0)
    smallest = max(1, int(images.min())) if len(images) else 1
    rows = pd.DataFrame(
        {"label": images.index, "images": images.to_numpy(), "times_smallest": (images / smallest).round(3).to_numpy()}
    )
    minimum, imbalance = contract.min_images_per_class, contract.max_imbalance
    rules = (
        between("images_per_class", "images", f"at least {minimum} images a class", low=minimum),
        between(
            "imbalance", "times_smallest", f"largest class at most {imbalance:g} times the smallest", high=imbalance
        ),
    )
    return Table("classes", "classes", ("label",), rows, rules)
