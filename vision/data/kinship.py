"""What families ask of images that earlier versions have placed: who follows whom, and who has to be left out."""

import pandas as pd

from vision.data.duplicates import families

SPLITS = ("train", "val", "test")


def follow_families(table: pd.DataFrame, bits: int) -> tuple[pd.DataFrame, pd.Series]:
    """(table with `family`, and `split` as far as families decide it; why a row is left out, None for the others).

    table: columns sha256, group, phash, error and split, which is None for new images.
    """
    table, why = table.copy(), pd.Series(None, index=table.index, dtype=object)
    side, moved = _sides(table, bits)
    table["family"] = families(table, bits)
    bridges = _bridges(table, side, bits)
    if bridges.any():  # without them the families that they joined are apart again
        table.loc[~bridges, "family"] = families(table[~bridges], bits)
        table.loc[bridges, "family"] = table.loc[bridges, "sha256"].str[:16]
        why[bridges] = "hangs together with images in two splits"
    why[moved] = "was placed in " + table.loc[moved, "split"] + ", and its family is in " + side[moved]
    known = pd.Series(side.dropna().to_numpy(), index=table.loc[side.dropna().index, "family"]).groupby(level=0).first()
    new = table["error"].isna() & table["split"].isna() & ~bridges
    table.loc[new, "split"] = table.loc[new, "family"].map(known)
    table.loc[moved, "split"] = None
    table["split"] = table["split"].astype(object).where(table["split"].notna(), None)
    return table, why


def _sides(table: pd.DataFrame, bits: int) -> tuple[pd.Series, pd.Series]:
    """(split that the family of each placed image belongs to, else None; bool: is it another than the image's own?)."""
    placed = table[table["split"].notna()]
    side = table["split"].copy()
    if placed.groupby(families(placed, bits))["split"].nunique().gt(1).any():
        rank = placed["split"].map(SPLITS.index).groupby(families(placed, bits)).transform("min")
        side.loc[placed.index] = rank.map(dict(enumerate(SPLITS)))
    return side, table["split"].notna() & (side != table["split"])


def _bridges(table: pd.DataFrame, side: pd.Series, bits: int) -> pd.Series:
    """bool: new images that hang together, by themselves or by other new ones, with images of two splits."""
    sides = side.groupby(table["family"]).transform("nunique")
    torn, touched = table[sides > 1], pd.Series(0, index=table.index)
    for split in SPLITS:
        part = torn[side[torn.index].isna() | (side[torn.index] == split)]
        if len(part):
            near = (side[part.index] == split).groupby(families(part, bits)).transform("any")
            touched[part.index] += near.astype(int)
    return (touched > 1) & table["split"].isna() & table["error"].isna()
