"""Which image is trained on, which is validated on, which is tested on: by family, stratified, append-only.

- A family (see `vision.data.duplicates`) goes to one split as a whole.
- An image that an earlier version has placed stays where it was, so that old and new models meet on images that neither
  was trained on. A new image follows the old ones of its family.
- New images can join families that were placed apart. The old ones stay; new ones go to the first of train, val, test
  that the family is in: a further near-duplicate in train spoils nothing that isn't spoilt, in test it would flatter.
- Everything depends on content and seed, nothing on the order of rows. Large families are placed first, so they tend to
  train; what is left over fills the shares as exactly as whole families allow.
"""

import hashlib
from collections import Counter, defaultdict

import pandas as pd

from vision.data.config import SplitConfig
from vision.data.duplicates import families

SPLITS = ("train", "val", "test")

Counts = dict[tuple[str, str], float]
"""(label, split) -> images."""


def assign(manifest: pd.DataFrame, config: SplitConfig, parent: pd.DataFrame | None = None) -> pd.DataFrame:
    """The manifest with `family` and `split` (None for rows with an error), sorted by path.

    `parent`: an earlier version's table of the same kind, whose placements are kept.
    """
    table = manifest.sort_values("path").reset_index(drop=True)
    table["family"] = families(table, config.near_duplicate_bits)
    readable = table["error"].isna()
    table["split"] = table["sha256"].map(_placed(parent)).astype(object).where(readable, None)
    _follow_family(table, readable)
    new = table[readable & table["split"].isna()]
    placed = _place(new, table[readable & table["split"].notna()], config)
    table.loc[new.index, "split"] = new["family"].map(placed)
    table["split"] = table["split"].astype(object).where(table["split"].notna(), None)
    return table


def _placed(parent: pd.DataFrame | None) -> dict[str, str]:
    """sha256 -> split. The same bytes under two names are one image."""
    if parent is None:
        return {}
    known = parent[parent["split"].notna()]
    return dict(zip(known["sha256"], known["split"], strict=True))


def _follow_family(table: pd.DataFrame, readable: pd.Series) -> None:
    """Gives unplaced rows the split of their family's placed ones, train before val before test. In place."""
    placed = table[table["split"].notna()]
    for split in reversed(SPLITS):
        known = placed.loc[placed["split"] == split, "family"].unique()
        rows = readable & table["family"].isin(known) & ~table.index.isin(placed.index)
        table.loc[rows, "split"] = split


def _place(new: pd.DataFrame, old: pd.DataFrame, config: SplitConfig) -> dict[str, str]:
    """Family -> split for families with no placed image: each to where it lessens the squared error of shares most."""
    labels = Counter(old["label"]) + Counter(new["label"])
    wanted = {(label, s): count * getattr(config, s) for label, count in labels.items() for s in SPLITS}
    have: Counts = defaultdict(float, Counter(zip(old["label"], old["split"], strict=True)))
    members = {family: Counter(rows) for family, rows in new.groupby("family")["label"]}
    order = sorted(members, key=lambda f: (-members[f].total(), _draw(config.seed, f)))
    placed = {}
    for family in order:
        placed[family] = min(SPLITS, key=lambda s: _cost(members[family], s, have, wanted))
        for label, count in members[family].items():
            have[label, placed[family]] += count
    _fill_empty(placed, members, order, have)
    return placed


def _cost(member: Counter, split: str, have: Counts, wanted: Counts) -> float:
    """Change of sum((have - wanted)^2 / wanted) over the family's labels when it goes to `split`."""
    return sum(
        n * (2 * (have[label, split] - wanted[label, split]) + n) / wanted[label, split] for label, n in member.items()
    )


def _fill_empty(placed: dict[str, str], members: dict[str, Counter], order: list[str], have: Counts) -> None:
    """Moves a small new family into a split that lacks its label, where the label's other split can spare one. In
    place.

    A class of three families or more so gets an image in every split, as far as new families allow.
    """
    for label in sorted({label for member in members.values() for label in member}):
        for split in SPLITS:
            if have[label, split] > 0:
                continue
            spare = _spare_family(label, placed, members, order, have)
            if spare is None:
                continue
            for name, count in members[spare].items():
                have[name, placed[spare]] -= count
                have[name, split] += count
            placed[spare] = split


def _spare_family(
    label: str, placed: dict[str, str], members: dict[str, Counter], order: list[str], have: Counts
) -> str | None:
    """The smallest family of `label` that can leave its split, the fullest, without emptying it of any label."""
    candidates = [
        family
        for family in reversed(order)
        if label in members[family]
        and all(have[name, placed[family]] > count for name, count in members[family].items())
    ]
    return min(
        candidates,
        key=lambda family: (-have[label, placed[family]], members[family].total(), _draw(0, family)),
        default=None,
    )


def _draw(seed: int, family: str) -> str:
    """The family's place in a shuffle that only the seed decides."""
    return hashlib.sha256(f"{seed}:{family}".encode()).hexdigest()
