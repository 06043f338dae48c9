import numpy as np
import pandas as pd
import pytest

from vision.data.label_share import labelled


@pytest.fixture(scope="module")
def rows():
    """300 + 100 + 12 images in families of one to six."""
    rng = np.random.default_rng(0)
    parts = []
    for label, images in (("many", 300), ("some", 100), ("few", 12)):
        families = np.repeat([f"{label}{n}" for n in range(images)], rng.integers(1, 7, images))[:images]
        parts.append(pd.DataFrame({"label": label, "family": families}))
    return pd.concat(parts).sample(frac=1, random_state=0).reset_index(drop=True)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.6])
def test_each_label_keeps_about_its_share(rows, share):
    kept = rows.iloc[labelled(rows, share, 42)]
    for label, images in rows["label"].value_counts().items():
        # Whole families: at most half of the largest, six images, from what was asked; at least one family.
        assert abs((kept["label"] == label).sum() - share * images) <= 6
        assert (kept["label"] == label).any()


def test_families_stay_whole_and_smaller_shares_lie_in_larger_ones(rows):
    tenth, quarter = set(labelled(rows, 0.1, 42)), set(labelled(rows, 0.25, 42))
    assert tenth < quarter
    kept = rows["family"].isin(rows["family"].iloc[sorted(quarter)])
    assert set(np.flatnonzero(kept)) == quarter


def test_the_seed_decides_and_the_order_of_rows_does_not(rows):
    turned = rows.iloc[::-1].reset_index(drop=True)
    families = set(rows["family"].iloc[labelled(rows, 0.25, 42)])
    assert families == set(turned["family"].iloc[labelled(turned, 0.25, 42)])
    assert families != set(rows["family"].iloc[labelled(rows, 0.25, 43)])


def test_all_labels_need_no_families():
    assert labelled(pd.DataFrame({"label": ["a", "b"]}), 1.0, 0).tolist() == [0, 1]
