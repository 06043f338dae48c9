from typing import get_args

import numpy as np
import pandas as pd
import pytest

from configs.load import load_system
from vision.data.manifest import COLUMNS as MANIFEST
from vision.errors import UserError
from vision.evaluation.config import Column, GateConfig, SliceConfig, SliceGate
from vision.evaluation.gate import GateInput, checks, judge
from vision.evaluation.slices import mark, members, slice_table, weak_slices

DARK = {"dark": SliceConfig(column="brightness", lowest=0.2)}


def rows(count=200, wrong=(), families=None):
    right = np.ones(count, bool)
    right[list(wrong)] = False
    return pd.DataFrame(
        {
            "path": [f"{n}.jpg" for n in range(count)],
            "sha256": [f"{n:064x}" for n in range(count)],
            "label": ["ab"[n % 2] for n in range(count)],
            "right": right,
            "confidence": 0.9,
            "family": [str(n) for n in range(count)] if families is None else families,
            "brightness": np.linspace(0, 1, count),
            "width_px": 100.0,
            "height_px": 100.0,
            "mode": ["RGB", "L"][:1] * (count - 20) + ["L"] * 20,
            "exif_orientation": [6] * 5 + [1] * (count - 5),
            "burnt": [True] * 3 + [False] * (count - 3),
        }
    )


def model(table, name="candidate"):
    per_class = pd.DataFrame({"label": ["a", "b"], "images": 100, "recall": 1.0})
    return GateInput(name, "accuracy", {"accuracy": float(table["right"].mean())}, per_class, mark(table, DARK))


def test_slices_can_be_cut_by_every_column_of_the_manifest():
    not_cut = {"path", "sha256", "error", "phash", "boxes"}
    assert set(get_args(Column)) == (set(MANIFEST) - not_cut) | {"pixels"}


@pytest.mark.parametrize(
    ("cut", "images", "rule"),
    [
        ({"column": "brightness", "lowest": 0.1}, 20, "brightness ≤ 0.1"),
        ({"column": "brightness", "highest": 0.25}, 50, "brightness ≥ 0.75"),
        ({"column": "brightness", "below": 0.5}, 100, "brightness < 0.5"),
        ({"column": "brightness", "above": 0.9}, 20, "brightness > 0.9"),
        ({"column": "mode", "equals": "l"}, 20, "mode = l"),
        ({"column": "exif_orientation", "equals": "6"}, 5, "exif_orientation = 6"),
        ({"column": "burnt", "equals": "true"}, 3, "burnt = true"),
        ({"column": "pixels", "lowest": 0.2}, 0, "pixels ≤ 1e+04"),
        ({"column": "noise", "lowest": 0.2}, 0, "no noise"),
    ],
)
def test_a_slice_is_cut_as_its_config_says(cut, images, rule):
    inside, words = members(rows(), SliceConfig(**cut))
    assert (inside.sum(), words) == (images, rule)


def test_a_slice_with_two_cuts_or_one_that_nobody_defined_is_refused_before_anything_runs(tiny):
    with pytest.raises(UserError, match="lowest and above"):
        load_system(tiny(evaluation={"slices": {"dim": {"column": "brightness", "lowest": 0.1, "above": 0.2}}}))
    with pytest.raises(UserError, match=r"gate\.slices names dim; evaluation\.slices has dark, blurred, small"):
        load_system(tiny(gate={"slices": {"dim": {"min_accuracy": 0.8}}}))
    with pytest.raises(UserError, match="brightnes"):
        load_system(tiny(evaluation={"slices": {"dim": {"column": "brightnes", "lowest": 0.1}}}))


def test_a_scan_finds_the_part_that_is_worse_and_leaves_chance_alone():
    weak, looked = weak_slices(rows(wrong=range(25)))
    assert looked > 3 and weak["rule"].tolist() == ["brightness ≤ 0.2"]
    scattered = np.random.default_rng(0).permutation(200)[:30]
    assert weak_slices(rows(wrong=scattered))[0].empty


def test_a_scan_of_noise_seldom_finds_anything():
    rng, found = np.random.default_rng(3), 0
    for _ in range(40):
        table = rows(wrong=rng.permutation(200)[:40])
        for name in ("contrast", "sharpness", "entropy", "noise"):
            table[name] = rng.normal(size=200)
        found += not weak_slices(table)[0].empty
    assert found <= 4


HELD = GateConfig(slices={"dark": SliceGate(min_accuracy=0.8, min_images=30)})


def test_the_gate_fails_a_slice_that_is_too_low_by_more_than_chance():
    verdict = judge(model(rows(wrong=range(20))), None, HELD)
    assert not verdict.passed
    assert verdict.reasons == ("slice dark accuracy 0.50 < 0.80, and not by chance (0.37 to 0.63) on 40 images",)


def test_a_slice_just_under_its_floor_passes_with_a_warning_as_chance_may_have_done_it():
    verdict = judge(model(rows(wrong=range(10))), None, HELD)
    assert verdict.passed and "0.75 is under 0.80, which could be chance" in verdict.warnings[0]
    assert not judge(model(rows(wrong=range(0))), None, HELD).warnings


def test_a_slice_of_few_images_is_not_judged_and_says_so():
    held = GateConfig(slices={"dark": SliceGate(min_accuracy=0.8, min_images=41)})
    verdict = judge(model(rows(wrong=range(40))), None, held)
    assert verdict.passed and "not judged: 40 test images, fewer than the 41" in verdict.warnings[0]


def test_ten_shots_of_one_leaf_do_not_fail_a_slice():
    alike = ["one"] * 18 + [str(n) for n in range(18, 200)]
    assert judge(model(rows(wrong=range(18), families=alike)), None, HELD).passed
    assert not judge(model(rows(wrong=range(18))), None, HELD).passed


def test_a_candidate_worse_than_the_champion_on_a_slice_alone_is_held_back():
    config = GateConfig(slices={"dark": SliceGate(max_drop=0.1)}, max_drop=0.2, max_class_drop=0.5)
    good, bad = rows(), rows(wrong=range(12))
    found = checks(model(bad), model(good, "v1"), config)
    assert [check.what for check in found if not check.passed] == ["slice dark accuracy vs v1"]
    assert all(
        check.passed for check in checks(model(bad), model(good, "v1"), GateConfig(max_drop=0.2, max_class_drop=0.5))
    )


def test_a_good_enough_model_seldom_loses_its_gate_over_slices_by_chance():
    """Ten slices at exactly their floor: one-sided 5 % over all of them."""
    rng, lost = np.random.default_rng(0), 0
    cuts = {f"s{n}": SliceConfig(column="group", equals=str(n)) for n in range(10)}
    config = GateConfig(slices={name: SliceGate(min_accuracy=0.8) for name in cuts})
    for _ in range(100):
        table = rows(600, wrong=np.flatnonzero(rng.random(600) < 0.2)).assign(group=np.arange(600) % 10)
        lost += not judge(
            GateInput("c", "accuracy", {"accuracy": 0.8}, pd.DataFrame(), mark(table, cuts)), None, config
        ).passed
    assert lost <= 12


def test_slice_tables_tell_rule_images_and_interval():
    row = slice_table(rows(wrong=range(10)), 0.95, DARK).iloc[0]
    assert (row["slice"], row["images"], row["accuracy"], row["rest_accuracy"]) == ("dark", 40, 0.75, 1.0)
    assert row["low"] < 0.75 < row["high"]


@pytest.mark.parametrize(
    ("name", "cut", "why"),
    [
        ("wide", {"column": "width_px", "equals": "640"}, "give below or above"),
        ("one", {"column": "label", "lowest": 0.2}, "label is no number"),
        ("low", {"column": "brightness", "below": 0.2}, "accuracy_low is the end"),
    ],
)
def test_a_slice_that_would_hold_nothing_or_hide_a_figure_is_a_mistake(name, cut, why):
    with pytest.raises(UserError, match=why):
        load_system("quickstart", {f"evaluation.slices.{name}": cut})
