"""Splits: by family, stratified, seeded, append-only."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision.data.config import SplitConfig
from vision.data.splits import SPLITS, assign, placements

CONFIG = SplitConfig(near_duplicate_bits=0)


def manifest(labels: list[str], groups: list[str | None] | None = None, start: int = 0) -> pd.DataFrame:
    """One readable row a label, all with different bytes and no perceptual hash."""
    numbers = range(start, start + len(labels))
    return pd.DataFrame(
        {
            "path": [f"images/{label}/{number:06d}.jpg" for label, number in zip(labels, numbers, strict=True)],
            "label": labels,
            "group": pd.Series(groups or [None] * len(labels), dtype=object),
            "sha256": [hashlib.sha256(str(number).encode()).hexdigest() for number in numbers],
            "error": pd.Series([None] * len(labels), dtype=object),
            "phash": pd.Series([None] * len(labels), dtype=object),
        }
    )


ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([None, *"uvwxyz"])), min_size=1, max_size=80)


def table_of(rows: list[tuple[str, str | None]], start: int = 0) -> pd.DataFrame:
    return manifest([label for label, _ in rows], [group for _, group in rows], start)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(0, 5))
def test_no_family_is_in_two_splits(rows, seed):
    table = assign(table_of(rows), SplitConfig(seed=seed, near_duplicate_bits=0), None)
    assert table["split"].isin(SPLITS).all()
    assert (table.groupby("family")["split"].nunique() == 1).all()


@settings(max_examples=40, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows, random):
    table = table_of(rows)
    order = list(table.index)
    random.shuffle(order)
    pd.testing.assert_frame_equal(assign(table, CONFIG, None), assign(table.loc[order], CONFIG, None))


@settings(max_examples=60, deadline=None)
@given(ROWS, ROWS, ROWS)
def test_old_images_stay_where_they_were_and_new_ones_follow_their_family(first, second, third):
    one = assign(table_of(first), CONFIG, None)
    two = assign(table_of(first + second), CONFIG, placements(one))
    three = assign(table_of(first + second + third), CONFIG, placements(two, placements(one)))
    for before, after in ((one, two), (two, three)):
        was = before.set_index("sha256")["split"]
        assert (after.set_index("sha256")["split"].loc[was.index] == was).all()
        assert (after.groupby("family")["split"].nunique() == 1).all()


def test_shares_of_single_images_are_exact_in_every_class():
    table = assign(manifest(["a"] * 400 + ["b"] * 100 + ["c"] * 20), CONFIG, None)
    counts = table.groupby(["label", "split"]).size().unstack()
    assert counts.loc["a"].to_dict() == {"train": 280, "val": 60, "test": 60}
    assert counts.loc["b"].to_dict() == {"train": 70, "val": 15, "test": 15}
    assert counts.loc["c"].to_dict() == {"train": 14, "val": 3, "test": 3}


def test_shares_are_kept_with_families_of_many_sizes():
    rng = np.random.default_rng(0)
    rows = [(label, f"{label}{i}") for label in "abcd" for i, n in enumerate(rng.geometric(0.4, 160)) for _ in range(n)]
    table = assign(table_of(rows), CONFIG, None)
    shares = table.groupby("label")["split"].value_counts(normalize=True).unstack()
    assert (shares - [0.15, 0.7, 0.15]).abs().to_numpy().max() < 0.02


@pytest.mark.parametrize("families", [3, 4, 7])
def test_a_class_of_three_families_is_in_every_split(families):
    table = assign(manifest(["a"] * families + ["b"] * 50), CONFIG, None)
    assert set(table.loc[table["label"] == "a", "split"]) == set(SPLITS)


def test_another_seed_gives_other_splits_and_the_same_seed_the_same():
    table = manifest(["a"] * 100)
    one, same, other = (assign(table, SplitConfig(seed=s), None)["split"] for s in (1, 1, 2))
    assert one.equals(same)
    assert not one.equals(other)


def test_unreadable_images_are_in_no_split_and_stay_in_the_table():
    table = manifest(["a"] * 10)
    table.loc[3, "error"] = "truncated: cut off"
    made = assign(table, CONFIG, None)
    assert made.loc[3, "split"] is None
    assert made["split"].notna().sum() == 9


def test_a_near_duplicate_of_an_old_image_takes_its_split():
    old = manifest(["a"] * 30)
    old["phash"] = [f"{int(s[:16], 16):016x}" for s in old["sha256"]]
    one = assign(old, SplitConfig(near_duplicate_bits=4), None)
    new = manifest(["a"] * 30, start=30)
    new["phash"] = [f"{int(h, 16) ^ 0b101:016x}" for h in old["phash"]]
    two = assign(pd.concat([old, new]), SplitConfig(near_duplicate_bits=4), one).sort_values("path")
    assert (two["split"].iloc[30:].to_numpy() == one["split"].to_numpy()).all()


def test_a_new_image_that_hangs_together_with_two_splits_is_left_out_and_the_old_ones_stay():
    old = manifest(["a"] * 40)
    old["phash"] = [f"{number:08x}00000000" for number in np.random.default_rng(1).integers(0, 2**32, 40)]
    config = SplitConfig(near_duplicate_bits=4)
    one = assign(old, config)
    train, test = (one.index[one["split"] == split][0] for split in ("train", "test"))
    new = manifest(["a"], start=40)
    # Their hashes brought to 8 bits apart, the new one in the middle of them.
    base = int(old.loc[train, "phash"], 16)
    old.loc[test, "phash"], new["phash"] = f"{base ^ 0xFF:016x}", f"{base ^ 0x0F:016x}"
    two = assign(pd.concat([old, new], ignore_index=True), config, placements(one))
    assert two.loc[[train, test, 40], "split"].tolist() == ["train", "test", None]
    assert two.loc[40, "left_out"] == "hangs together with images in two splits"
    assert (two.groupby("family")["split"].nunique() <= 1).all()
    assert two["left_out"].notna().sum() == 1


def test_old_images_that_prove_to_be_one_family_stay_in_train_and_leave_the_test():
    one = assign(manifest(["a"] * 40), CONFIG)
    train, test = (one.index[one["split"] == split][0] for split in ("train", "test"))
    more = manifest(["a"] * 41)
    more.loc[[train, test, 40], "group"] = "joined"
    two = assign(more, CONFIG, placements(one))
    assert two.loc[[train, test, 40], "split"].tolist() == ["train", None, "train"]
    assert two.loc[test, "left_out"] == "was placed in test, and its family is in train"
    kept = placements(two, placements(one)).set_index("sha256")["split"]
    assert kept[one.loc[test, "sha256"]] == "test"


def test_an_image_that_was_away_for_a_version_comes_back_to_its_split():
    whole = manifest(["a"] * 60)
    one = assign(whole, CONFIG)
    away = one["split"] == "test"
    two = assign(whole[~away.to_numpy()], CONFIG, placements(one))
    three = assign(whole, CONFIG, placements(two, placements(one)))
    assert (three.loc[away, "split"] == "test").all()


def test_a_near_duplicate_follows_an_image_that_is_away():
    old = manifest(["a"] * 60)
    old["phash"] = [s[:16] for s in old["sha256"]]
    one = assign(old, SplitConfig(near_duplicate_bits=4))
    new = manifest(["a"] * 60, start=60)
    new["phash"] = [f"{int(h, 16) ^ 0b101:016x}" for h in old["phash"]]
    two = assign(new, SplitConfig(near_duplicate_bits=4), placements(one))
    assert two["split"].tolist() == one["split"].tolist()


def test_new_families_bring_the_shares_back_to_what_was_asked():
    one = assign(manifest(["a"] * 100), SplitConfig(train=0.9, val=0.05, test=0.05), None)
    two = assign(manifest(["a"] * 300), SplitConfig(train=0.7, val=0.15, test=0.15), one)
    assert two["split"].value_counts().to_dict() == {"train": 210, "val": 45, "test": 45}


def test_images_of_a_renamed_class_keep_their_split():
    whole = manifest(["leaf", "stone"] * 40)
    one = assign(whole, CONFIG)
    renamed = whole.assign(
        label=whole["label"].replace({"leaf": "blade"}), path=whole["path"].str.replace("/leaf/", "/blade/")
    )
    two = assign(renamed, CONFIG, placements(one))
    assert two.set_index("sha256")["split"].to_dict() == one.set_index("sha256")["split"].to_dict()
