"""Which image is trained on, which is validated on, which is tested on: by family, stratified, append-only.

- A family (see `vision.data.duplicates`) goes to one split as a whole.
- An image that any earlier version has placed stays where it was, so that old and new models meet on images that neither
  was trained on; also when it was away for a version. A new image follows the placed ones of its family, those that are
  away included.
- New images can hang together with images in two splits. They are left out: in either split they would tell of the other.
- Placed images of two splits can turn out to be one family (a corrected group, a wider `near_duplicate_bits`). Those in
  train stay, those in val or test are left out, test before val: nothing is trained on what was once tested on.
- Everything depends on content and seed, nothing on the order of rows. Large families are placed first, so they tend to
  train; what is left over fills the shares as exactly as whole families allow.
"""

import hashlib
from collections import Counter, defaultdict

import pandas as pd

from vision.data.config import SplitConfig
from vision.data.kinship import SPLITS, follow_families

PLACEMENT = ("sha256", "label", "group", "phash", "split")

Counts = dict[tuple[str, str], float]
"""(label, split) -> images."""


def assign(manifest: pd.DataFrame, config: SplitConfig, placed: pd.DataFrame | None = None) -> pd.DataFrame:
    """The manifest with `family`, `split` (None for rows with an error or left out) and `left_out` (why, or None), by path.

    placed: `placements` of the versions before, which are kept.
    """
    table = manifest.sort_values("path").reset_index(drop=True)
    readable = table["error"].isna()
    both = pd.concat([table, _away(placed, table)], ignore_index=True)
    both = both.assign(split=both["sha256"].map(_split_of(placed)).astype(object).where(both["error"].isna(), None))
    both, why = follow_families(both, config.near_duplicate_bits)
    table = table.assign(family=both["family"], split=both["split"], left_out=why)
    new = table[readable & table["split"].isna() & table["left_out"].isna()]
    chosen = _place(new, table[table["split"].notna()], config)
    table.loc[new.index, "split"] = new["family"].map(chosen)
    for column in ("split", "left_out"):
        table[column] = table[column].astype(object).where(table[column].notna(), None)
    return table


def placements(table: pd.DataFrame, before: pd.DataFrame | None = None) -> pd.DataFrame:
    """What the next version inherits: of every image that was ever placed, one row with `PLACEMENT`.

    table: from `assign`. before: the placements that it inherited itself.
    """
    rows = [part for part in (before, table[table["split"].notna()]) if part is not None]
    return pd.concat([part[list(PLACEMENT)] for part in rows]).drop_duplicates("sha256").reset_index(drop=True)


def _away(placed: pd.DataFrame | None, table: pd.DataFrame) -> pd.DataFrame:
    """Rows of placed images that are not in this version; they still tell of their relatives."""
    if placed is None:
        return table.iloc[:0]
    known = placed[placed["split"].notna() & ~placed["sha256"].isin(table["sha256"])]
    return known[["label", "group", "sha256", "phash"]].assign(error=None)


def _split_of(placed: pd.DataFrame | None) -> dict[str, str]:
    """sha256 -> split. The same bytes under two names are one image."""
    if placed is None:
        return {}
    known = placed[placed["split"].notna()]
    return dict(zip(known["sha256"], known["split"], strict=True))


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
