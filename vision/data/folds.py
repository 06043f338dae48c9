"""Cross-validation: every image is tested on once, by a model that was trained on none of its family."""

import pandas as pd

from vision.data.config import SplitConfig
from vision.data.kinship import SPLITS
from vision.data.splits import assign
from vision.errors import UserError


def assign_fold(manifest: pd.DataFrame, config: SplitConfig, folds: int, number: int) -> pd.DataFrame:
    """The table of `vision.data.splits.assign` for fold `number` of `folds`, from 0; nothing earlier is inherited.

    The families of one fold are the test split. Of the others, about `config.val` of all images validate, by the same
    rule, and the rest train. Stratified by label (scikit-learn's StratifiedGroupKFold, shuffled by `config.seed`).

    Raises `UserError` where a label has fewer families than it takes, or none left for a split: one of them can be most of
    its images.
    """
    table = assign(manifest, config)
    table["split"] = table["split"].where(table["split"].isna(), "train")
    used = table[table["split"].notna()]
    inner = max(2, round((1 - 1 / folds) / config.val))
    _refuse_few_families(used, max(folds, inner + 1))
    test = _part(used, folds, number, config.seed)
    rest = used.drop(test)
    table.loc[test, "split"] = "test"
    table.loc[_part(rest, inner, 0, config.seed), "split"] = "val"
    _refuse_empty(table[table["split"].notna()], number)
    return table


def _part(rows: pd.DataFrame, parts: int, number: int, seed: int) -> pd.Index:
    """Index of the rows in part `number` of `parts`."""
    from sklearn.model_selection import StratifiedGroupKFold

    cutter = StratifiedGroupKFold(n_splits=parts, shuffle=True, random_state=seed)
    cuts = list(cutter.split(rows, rows["label"], rows["family"]))
    return rows.index[cuts[number][1]]


def _refuse_empty(rows: pd.DataFrame, number: int) -> None:
    counts = pd.crosstab(rows["label"], rows["split"]).reindex(columns=list(SPLITS), fill_value=0).stack()
    if (counts == 0).any():
        missing = ", ".join(f"{label} in {split}" for label, split in counts[counts == 0].index)
        raise UserError(
            f"fold {number + 1} has no image of {missing}: its families are too unequal",
            "an image of each label in each split of each fold",
            "ask for another number of folds, or add images",
        )


def _refuse_few_families(rows: pd.DataFrame, needed: int) -> None:
    families = rows.groupby("label")["family"].nunique()
    few = families[families < needed]
    if len(few):
        raise UserError(
            f"{', '.join(f'{label} has {count} families of images' for label, count in few.items())}",
            f"at least {needed} a label: one for each fold, and as many as validation takes",
            "ask for fewer folds, or add images",
        )
