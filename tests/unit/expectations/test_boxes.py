"""Rules over boxes: which data they are held for, a set that meets them, and one in which each is broken."""

import pandas as pd
import pytest

from configs.load import load_system
from expectations.contract import build_tables, check_contract
from tests.unit.expectations.test_contract import OF_BOXES, PLAIN, failed, rule

CLASSES = ("dent", "pit")


def box(label, x1, y1, x2, y2):
    return {"label": label, "x1": x1, "y1": y1, "x2": x2, "y2": y2}


@pytest.fixture
def config():
    return load_system("quickstart", {"contract.min_images_per_class": 10, "contract.max_burnt_share": 0.1})


@pytest.fixture
def boxed(splits) -> pd.DataFrame:
    """The table of conftest.py: 20 images with a dent, 20 with a dent and a pit, 20 without; named parts of two."""
    dent, pit = box("dent", 10, 10, 60, 50), box("pit", 100.5, 20, 256, 90)
    boxes = [[dent]] * 20 + [[dent, pit]] * 20 + [[]] * 20
    parts = [f"plate {row // 2}" if row % 20 < 14 else None for row in range(60)]
    labels = ["dent"] * 20 + ["pit"] * 20 + ["normal"] * 20
    return splits.assign(label=labels, boxes=boxes, group=parts, family=splits["family"].where(pd.isna(parts), parts))


def test_data_with_boxes_and_parts_is_held_to_their_rules_too(boxed, config, tmp_path):
    result = check_contract(boxed, config, CLASSES, tmp_path / "docs")
    assert failed(result) == set()
    assert result.verdict.passed
    assert {one.name for one in result.rules} == PLAIN | OF_BOXES


def test_an_image_counts_for_every_class_that_it_shows(boxed, config):
    tables = {table.name: table.rows for table in build_tables(boxed, config, CLASSES)}
    assert dict(zip(tables["classes"]["label"], tables["classes"]["images"], strict=True)) == {"dent": 40, "pit": 20}
    places = dict(zip(tables["class_splits"]["place"], tables["class_splits"]["images"], strict=True))
    assert places["dent in test"] == 6 and places["pit in test"] == 3


def test_data_that_is_told_apart_by_presence_counts_its_labels(boxed, config):
    boxed["label"] = boxed["label"].replace({"dent": "defect", "pit": "defect"})
    tables = {table.name: table for table in build_tables(boxed, config, ("normal", "defect"))}
    images = tables["classes"].rows
    assert dict(zip(images["label"], images["images"], strict=True)) == {"normal": 20, "defect": 40}
    assert "categories" not in tables
    assert {one.name for one in tables["boxes"].rules} == {"box_inside", "box_side", "duplicate_boxes"}


@pytest.mark.parametrize("placed", ["nowhere", "everywhere"])
def test_presence_may_have_a_category_named_defect_or_no_box_at_all(boxed, config, tmp_path, placed):
    boxed["label"] = boxed["label"].replace({"dent": "defect", "pit": "defect"})
    found = [[box("defect", 10, 10, 60, 50)]] if placed == "everywhere" else [None]
    boxed["boxes"] = found * 40 + [[]] * 20
    result = check_contract(boxed, config, ("normal", "defect"), tmp_path / "docs")
    assert result.verdict.passed and failed(result) == set()
    tables = {table.name: table.rows for table in build_tables(boxed, config, ("normal", "defect"))}
    images = tables["classes"]
    assert dict(zip(images["label"], images["images"], strict=True)) == {"normal": 20, "defect": 40}


def test_each_rule_names_what_breaks_it(boxed, config, tmp_path):
    path = boxed["path"]
    twin = [box("dent", 10, 10, 60, 50), box("dent", 11, 10, 60, 50), box("pit", 10, 10, 60, 50)]
    broken = {
        0: [box("dent", -4, 10, 60, 50)],
        1: [box("dent", 10, 10, 60, 10)],
        2: [box("dent", 60, 10, 10, 50)],
        3: twin,
        4: [box("bolt", 10, 10, 60, 50)],
    }
    for row, boxes in broken.items():
        boxed.at[row, "boxes"] = boxes
    boxed.loc[59, ["error", "split"]] = ["no file: annotated, but not there", None]
    boxed.loc[40, "split"] = "val"
    boxed.loc[[41, 42, 43], ["group", "family"]] = None
    config = config.model_copy(
        update={"contract": config.contract.model_copy(update={"min_flawless_share": 0.5, "severity": {}})}
    )
    boxed.loc[[41], ["group", "family"]] = ["plate 20", "plate 20"]
    result = check_contract(boxed, config, (*CLASSES, "rust"), tmp_path / "docs")
    named = {name: rule(result, name).failing for name in OF_BOXES}
    assert named["box_inside"] == (f"{path[0]} box 1 dent",)
    assert named["box_side"] == (f"{path[1]} box 1 dent", f"{path[2]} box 1 dent")
    assert named["duplicate_boxes"] == (f"{path[3]} box 2 dent",)
    assert named["box_labels_known"] == (f"{path[4]} box 1 bolt",)
    assert named["annotations_match"] == (path[59],)
    assert named["flawless_share"] == ("images without a defect",)
    assert named["category_has_boxes"] == ("rust",)
    assert named["part_one_split"] == (path[40], path[41])
    assert not any(rule(result, name).passed for name in OF_BOXES)
    assert rule(result, "readable").passed, "a missing file is counted once, as what it is"
    assert "no file" in rule(result, "annotations_match").observed
