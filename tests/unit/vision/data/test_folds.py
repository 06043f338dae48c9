"""Folds: every image is tested once, families stay whole."""

import hashlib

import pandas as pd
import pytest

from vision.data.config import SplitConfig
from vision.data.folds import assign_fold
from vision.errors import UserError


def manifest(labels, groups=None):
    """One readable row a label, all with different bytes."""
    return pd.DataFrame(
        {
            "path": [f"images/{label}/{number:03d}.jpg" for number, label in enumerate(labels)],
            "label": labels,
            "group": pd.Series(groups or [None] * len(labels), dtype=object),
            "sha256": [hashlib.sha256(str(number).encode()).hexdigest() for number in range(len(labels))],
            "error": pd.Series([None] * len(labels), dtype=object),
            "phash": pd.Series([None] * len(labels), dtype=object),
        }
    )


CONFIG = SplitConfig(near_duplicate_bits=0)
LABELS = ["a"] * 60 + ["b"] * 40
GROUPS = [f"{label}{number // 3}" for number, label in enumerate(LABELS)]


def cuts(folds=5, config=CONFIG):
    return [assign_fold(manifest(LABELS, GROUPS), config, folds, number) for number in range(folds)]


def test_every_image_is_tested_once_and_no_family_is_in_two_splits():
    found = cuts()
    tested = pd.concat([cut.loc[cut["split"] == "test", "path"] for cut in found])
    assert sorted(tested) == sorted(manifest(LABELS)["path"])
    assert all((cut.groupby("family")["split"].nunique() == 1).all() for cut in found)


def test_each_split_has_every_label_in_about_its_share():
    for cut in cuts():
        counts = pd.crosstab(cut["label"], cut["split"])
        assert (counts > 0).all(axis=None)
        assert counts["test"].sum() == pytest.approx(20, abs=4)
        assert counts["val"].sum() == pytest.approx(16, abs=4)


def test_another_seed_cuts_otherwise_and_the_same_one_the_same():
    first, again = cuts()[0], cuts()[0]
    other = cuts(config=SplitConfig(near_duplicate_bits=0, seed=7))[0]
    assert first.equals(again)
    assert not first["split"].equals(other["split"])


def test_an_unreadable_image_is_in_no_split():
    table = manifest(LABELS, GROUPS)
    table.loc[3, "error"] = "truncated"
    cut = assign_fold(table, CONFIG, 5, 0)
    assert cut.loc[cut["error"].notna(), "split"].tolist() == [None]


def test_a_label_whose_one_family_leaves_none_to_train_on_is_refused():
    groups = [None] * 100 + ["big"] * 40 + [None] * 10
    with pytest.raises(UserError, match="fold 2 has no image of b in train"):
        assign_fold(manifest(["a"] * 100 + ["b"] * 50, groups), CONFIG, 2, 1)


def test_a_label_with_fewer_families_than_folds_is_refused():
    few = manifest(["a"] * 30 + ["b"] * 4)
    with pytest.raises(UserError, match="b has 4 families"):
        assign_fold(few, CONFIG, 5, 0)
