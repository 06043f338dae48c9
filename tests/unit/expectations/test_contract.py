"""Each rule against a table made to break it. One Great Expectations run of a clean table, then one a rule."""

import os
from pathlib import Path
from typing import get_args

import pytest

from configs.contract import DEFAULT_SEVERITY, Rule
from configs.load import load_system
from expectations import contract as contract_module
from expectations.contract import build_tables, check_contract


def rule(result, name):
    return next(one for one in result.rules if one.name == name)


def failed(result):
    return {one.name for one in result.rules if not one.passed}


def unreadable(splits):
    splits[["blank", "burnt"]] = splits[["blank", "burnt"]].astype(object)
    splits.loc[5, ["error", "mode", "width_px", "height_px", "phash", "blank", "burnt", "split"]] = [
        "truncated: 100 bytes are missing", None, None, None, None, None, None, None,
    ]  # fmt: skip


def put(column, value, *rows):
    def spoil(splits):
        splits.loc[list(rows), column] = value

    return spoil


def same(column, first, second):
    def spoil(splits):
        splits.loc[second, column] = splits.loc[first, column]

    return spoil


def near(first, second, bits):
    def spoil(splits):
        splits.loc[second, "phash"] = f"{int(splits.loc[first, 'phash'], 16) ^ (2**bits - 1):016x}"

    return spoil


def drop(*rows):
    def spoil(splits):
        splits.drop(index=list(rows), inplace=True)

    return spoil


EARLY, HEALTHY, LATE = "images/early_blight/early_blight_", "images/healthy/healthy_", "images/late_blight/late_blight_"

BROKEN = {
    "readable": (unreadable, [f"{EARLY}05.jpg"]),
    "modes": (put("mode", "HSV", 21), [f"{HEALTHY}01.jpg"]),
    "width": (put("width_px", 12.0, 0), [f"{EARLY}00.jpg"]),
    "height": (put("height_px", 30_000.0, 59), [f"{LATE}19.jpg"]),
    "labels_known": (put("label", "helthy", 22), [f"{HEALTHY}02.jpg"]),
    "blank_share": (put("blank", True, 23), [f"{HEALTHY}03.jpg"]),
    "burnt_share": (put("burnt", True, *range(7)), [f"{EARLY}0{i}.jpg" for i in range(7)]),
    "images_per_class": (drop(*range(11)), ["early_blight"]),
    "imbalance": (drop(*range(11)), ["healthy", "late_blight"]),
    "class_in_each_split": (put("split", "val", 37, 38, 39), ["healthy in test"]),
    "split_shares": (put("split", "train", 14, 15, 34, 35, 54), ["train", "val"]),
    "in_a_split": (put("split", None, 24), [f"{HEALTHY}04.jpg"]),
    "left_out": (put("left_out", "hangs together with images in two splits", 25), [f"{HEALTHY}05.jpg"]),
    "exact_duplicate_one_split": (same("sha256", 0, 19), [f"{EARLY}00.jpg", f"{EARLY}19.jpg"]),
    "near_duplicate_one_split": (near(0, 14, bits=4), [f"{EARLY}00.jpg", f"{EARLY}14.jpg"]),
    "family_one_split": (same("family", 20, 34), [f"{HEALTHY}00.jpg", f"{HEALTHY}14.jpg"]),
    "exact_duplicate_one_label": (same("sha256", 1, 21), [f"{EARLY}01.jpg", f"{HEALTHY}01.jpg"]),
    "near_duplicate_one_label": (near(1, 21, bits=3), [f"{EARLY}01.jpg", f"{HEALTHY}01.jpg"]),
}
OF_BOXES = {
    "part_one_split", "box_inside", "box_side", "duplicate_boxes", "box_labels_known", "annotations_match",
    "flawless_share", "category_has_boxes",
}  # fmt: skip
"""Held where the data has boxes, or names parts: tests/unit/expectations/test_boxes.py."""
PLAIN = set(get_args(Rule)) - OF_BOXES
# What can't be broken alone: a table with too few of a class is unbalanced as well.
ALSO = {
    "images_per_class": {"imbalance", "split_shares"},
    "imbalance": {"images_per_class", "split_shares"},
}


def test_a_clean_table_meets_every_rule(splits, config, labels, tmp_path):
    result = check_contract(splits, config, labels, tmp_path / "docs")
    assert result.verdict.passed and failed(result) == set() and result.verdict.warnings == ()
    assert result.ran == result.expected == len(PLAIN)
    assert {one.name for one in result.rules} == PLAIN


def test_every_rule_has_a_table_that_breaks_it():
    assert set(BROKEN) == PLAIN


@pytest.mark.parametrize("name", BROKEN)
def test_a_rule_fails_on_what_it_forbids_and_names_the_rows(name, splits, config, labels, tmp_path):
    spoil, rows = BROKEN[name]
    spoil(splits)
    result = check_contract(splits, config, labels, tmp_path / "docs")
    broken = rule(result, name)
    assert not broken.passed and sorted(broken.failing) == rows and broken.failing_count == len(rows)
    severity = DEFAULT_SEVERITY.get(name, "critical")
    assert failed(result) == {name} | ALSO.get(name, set())
    assert result.verdict.passed is (severity == "warning")
    said = result.verdict.reasons if severity == "critical" else result.verdict.warnings
    assert any(text.startswith(f"{name}: ") and rows[0] in text for text in said)


def test_five_bits_apart_are_no_near_duplicates(splits, config, labels, tmp_path):
    near(0, 14, bits=5)(splits)
    assert failed(check_contract(splits, config, labels, tmp_path / "docs")) == set()


def test_blank_images_are_not_taken_for_near_duplicates(splits, config, labels, tmp_path):
    near(0, 14, bits=0)(splits)
    put("blank", True, 0, 14)(splits)
    assert failed(check_contract(splits, config, labels, tmp_path / "docs")) == {"blank_share"}


def test_a_share_is_allowed_up_to_its_limit_and_still_names_its_rows(splits, config, labels, tmp_path):
    put("burnt", True, *range(6))(splits)
    burnt = rule(check_contract(splits, config, labels, tmp_path / "docs"), "burnt_share")
    assert burnt.passed and burnt.failing_count == 6 and len(burnt.failing) == 6


def test_a_warning_does_not_fail_the_verdict(splits, labels, tmp_path):
    config = load_system("quickstart", {"contract.min_images_per_class": 10, "contract.severity": {"modes": "warning"}})
    BROKEN["modes"][0](splits)
    result = check_contract(splits, config, labels, tmp_path / "docs")
    assert result.verdict.passed and not rule(result, "modes").passed
    assert "modes: 1 of 60 images outside" in result.verdict.warnings[0]


def test_a_rule_that_is_silently_dropped_fails_the_contract(splits, config, labels, tmp_path, monkeypatch):
    whole = contract_module._suite

    def without_the_last(table, severity):
        suite = whole(table, severity)
        suite.expectations = suite.expectations[:-1] if table.name == "images" else suite.expectations
        return suite

    monkeypatch.setattr(contract_module, "_suite", without_the_last)
    result = check_contract(splits, config, labels, tmp_path / "docs")
    assert (result.ran, result.expected) == (len(PLAIN) - 1, len(PLAIN))
    assert not result.verdict.passed and "only 17 of 18 rules" in result.verdict.reasons[0]


def test_a_rule_that_cannot_be_evaluated_is_never_only_a_warning(splits, labels, tmp_path, monkeypatch):
    config = load_system("quickstart", {"contract.min_images_per_class": 10, "contract.severity.modes": "warning"})
    tables = build_tables(splits, config, labels)
    tables[0].rows.drop(columns="mode", inplace=True)
    monkeypatch.setattr(contract_module, "build_tables", lambda *_: tables)
    result = check_contract(splits, config, labels, tmp_path / "docs")
    assert not result.verdict.passed and result.ran == result.expected - 1
    assert "could not be evaluated" in rule(result, "modes").observed


def test_failing_rows_are_named_up_to_twenty_and_all_counted(splits, config, labels, tmp_path):
    put("mode", "HSV", *range(30))(splits)
    modes = rule(check_contract(splits, config, labels, tmp_path / "docs"), "modes")
    assert len(modes.failing) == 20 and modes.failing_count == 30


def test_an_empty_table_fails(splits, config, labels, tmp_path):
    assert not check_contract(splits.iloc[:0], config, labels, tmp_path / "docs").verdict.passed


def test_pages_are_written_into_the_folder_and_nothing_elsewhere(splits, config, labels, tmp_path, monkeypatch):
    for name in ("home", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    splits.loc[20, "path"] = "images/healthy/<script>alert(1)</script>.jpg"
    put("mode", "HSV", 20)(splits)
    result = check_contract(splits, config, labels, tmp_path / "docs")
    assert {path.name for path in tmp_path.iterdir()} == {"home", "temporary", "docs"}
    assert not any(os.scandir(tmp_path / "home")) and not any(os.scandir(tmp_path / "temporary"))
    page = result.page.read_text()
    assert "Not met" in page and "&lt;script&gt;alert(1)" in page and "<script>" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert result.docs.is_file() and "images" in result.docs.read_text()


def test_the_result_survives_json(splits, config, labels, tmp_path):
    result = check_contract(splits, config, labels, Path(tmp_path / "docs"))
    assert type(result).model_validate_json(result.model_dump_json()) == result
