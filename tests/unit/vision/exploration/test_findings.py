import numpy as np
import pandas as pd
import pytest

from vision.data.features import FEATURES
from vision.exploration.copies import near_pairs, pick_pairs
from vision.exploration.facts import Fact, facts
from vision.exploration.insights import RULES, insights, rule_table
from vision.exploration.likeness import between_labels, flat_map, mixing, neighbours, sample_rows, standardised


def table(count=120, seed=0):
    """A splits table of two classes, in which nothing is to be found."""
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame(
        {
            "path": [f"images/{'ab'[n % 2]}/{n:04d}.jpg" for n in range(count)],
            "label": ["ab"[n % 2] for n in range(count)],
            "split": ["test" if n % 3 == 0 else "train" for n in range(count)],
            "sha256": [f"{n:064x}" for n in range(count)],
            "family": [f"{n:016x}" for n in range(count)],
            "phash": [f"{int(value):016x}" for value in rng.integers(0, 2**63, count)],
            "error": None,
            "blank": False,
            "burnt": False,
            **{name: rng.uniform(0.2, 0.9, count) for name in FEATURES},
        }
    )
    return rows.assign(width_px=200.0, height_px=200.0, aspect=1.0)


def found(rows, bits=4, side_px=128):
    return facts(rows, near_pairs(rows[rows["error"].isna()], bits + 2), bits, side_px)


def said(rows, **more):
    return " | ".join(point.text for point in insights(found(rows, **more)))


def test_sound_data_calls_for_nothing_and_every_rule_is_shown_all_the_same():
    assert said(table()) == ""
    shown = rule_table(found(table()))
    assert len(shown.rows) >= 10 and {row[-1] for row in shown.rows} == {"quiet"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"error": ["not an image", *[None] * 119]}, "can't be read: 1 (images/a/0000.jpg)"),
        ({"burnt": [True] * 5 + [False] * 115}, "and 2 more"),
        ({"brightness": np.linspace(0.5, 0.6, 120)}, "light hardly varies"),
        ({"brightness": np.r_[[0.05] * 6, np.linspace(0.2, 0.9, 114)]}, "5.0 % of the images are dark"),
        ({"brightness": [0.3, 0.8] * 60}, "variance of brightness lies between the classes"),
        ({"width_px": [64.0, 200.0] * 60}, "smaller than the model's input (128 px)"),
        ({"aspect": [2.5] * 30 + [1.0] * 90}, "longer than 1.8 : 1"),
        ({"width_px": [2000.0] * 12 + [200.0] * 108}, "10.0-fold"),
        ({"sha256": ["0" * 64] * 3 + [f"{n:064x}" for n in range(3, 120)]}, "another's copy: 2"),
        ({"family": ["one"] * 20 + [f"{n:016x}" for n in range(20, 120)]}, "16.7 % of all (20 images)"),
    ],
)
def test_each_rule_says_its_figure_and_its_example(change, words):
    rows = table().assign(**change)
    pairs = near_pairs(rows[rows["error"].isna()], 6)
    points = insights(facts(rows, pairs, 4, 128))
    assert words in " | ".join(point.text for point in points)
    assert all(point.do for point in points)


def test_near_duplicates_are_told_with_their_labels_and_splits():
    rows = table()
    rows.loc[3, "phash"] = rows.loc[2, "phash"]  # a and b, train and test
    last = int(rows.loc[6, "phash"], 16)
    rows.loc[7, "phash"] = f"{last ^ 0b11111:016x}"  # five bits off: beyond the split's own limit
    pairs = near_pairs(rows, 6)
    assert pairs[["first_path", "second_path", "bits"]].to_numpy().tolist() == [
        ["images/a/0002.jpg", "images/b/0003.jpg", 0],
        ["images/a/0006.jpg", "images/b/0007.jpg", 5],
    ]
    words = said(rows)
    assert "two labels: 1 (images/a/0002.jpg = images/b/0003.jpg)" in words
    assert "only 5 to 5 bits apart: 1" in words


def test_pairs_to_look_at_are_those_of_two_labels_first_and_no_image_comes_twice():
    rows = table().head(8)
    rows["phash"] = ["0" * 16] * 3 + ["f" * 16] * 3 + [f"{2**40:016x}", f"{2**20 - 1:016x}"]
    chosen = pick_pairs(near_pairs(rows, 4), 3)
    paths = [*chosen["first_path"], *chosen["second_path"]]
    assert len(set(paths)) == len(paths)
    assert chosen.iloc[0]["first_label"] != chosen.iloc[0]["second_label"]


def test_mixing_is_near_one_for_classes_that_nothing_tells_apart_and_none_for_those_that_lie_apart():
    rng = np.random.default_rng(0)
    labels = np.repeat(["one", "same", "far"], [200, 50, 100])
    points = rng.normal(size=(350, 3)) + np.where(labels == "far", 9, 0)[:, None]
    mixed = mixing(labels, neighbours(points)).set_index(["first", "second"])["mixed"]
    assert mixed["one", "same"] == pytest.approx(1, abs=0.2)
    assert mixed["far", "one"] == mixed["far", "same"] == 0


def test_chance_makes_no_variance_between_many_small_classes():
    rng = np.random.default_rng(1)
    rows = pd.DataFrame({"label": np.arange(400) % 100, "brightness": rng.normal(size=400)})
    assert between_labels(rows, ("brightness",))["brightness"] < 0.12
    told = rows.assign(brightness=rows["label"] + 0.0)
    assert between_labels(told, ("brightness",))["brightness"] == pytest.approx(1)


def test_the_map_takes_one_image_a_family_and_any_number_of_images():
    rows = table(300)
    rows["family"] = [f"{n // 3}" for n in range(300)]
    sample = sample_rows(rows)
    assert len(sample) == sample["family"].nunique() == 100
    assert len(sample_rows(table(400), most=100)) == 100
    points, names = standardised(sample)
    assert "width_px" not in names and np.abs(points).max() <= 4
    assert flat_map(points)[0].shape == (100, 2)
    assert flat_map(points[:2])[0].shape == flat_map(points[:2, :1])[0].shape == (2, 2)


def test_every_rule_has_a_sentence_that_can_be_filled():
    everything = {rule.fact: Fact(1e9 if rule.side == "above" else -1.0, "x") for rule in RULES}
    assert len(insights(everything)) == len(RULES) == len({rule.fact for rule in RULES})


def test_each_of_very_many_alike_images_has_a_pair(monkeypatch):
    monkeypatch.setattr("vision.data.duplicates._EDGES_AT_ONCE", 50)
    hashes = [0]
    for step in range(299):
        hashes.append(hashes[-1] ^ (0b111 << (3 * step % 60)))
    rows = table(300).assign(phash=[f"{value:016x}" for value in hashes])
    pairs = near_pairs(rows, 4)
    assert {*pairs["first_path"], *pairs["second_path"]} == set(rows["path"]) and pairs["bits"].max() <= 4
