"""What the page of data with boxes says: counts, findings with what to do, pictures of every class and of flawless images."""

import re

import pandas as pd
import pytest

from tests.box_folders import picture
from vision.data.boxes.annotations import ImageBoxes, write_annotations
from vision.data.boxes.geometry import Box
from vision.data.config import SplitConfig
from vision.data.manifest import describe_files, list_images
from vision.data.splits import assign
from vision.evaluation.report import write_report
from vision.exploration.box_facts import box_facts, box_table, class_table
from vision.exploration.page import DataSet, data_report
from vision.kinds import exploring

PIT, SCRATCH, TINY = Box("pit", 0, 5, 12, 15), Box("scratch <b>", 20, 10, 50, 38), Box("pit", 30, 20, 31, 30)


@pytest.fixture(scope="module")
def surfaces(tmp_path_factory):
    """Sixteen images: ten with a pit, four of these with a scratch and a tiny pit too, five flawless, one unknown."""
    root = tmp_path_factory.mktemp("surfaces")
    images = []
    for no in range(16):
        boxes = (PIT, SCRATCH, TINY) if no < 4 else (PIT,) if no < 10 else ()
        path = f"images/steel/{no:02}.jpg"
        picture(root / path, no)
        images.append(ImageBoxes(path, "pit" if boxes else "normal", boxes if no < 15 else None, (60, 40)))
    write_annotations(images, ("pit", "scratch <b>"), ("pit", "scratch <b>"), root / "annotations.json")
    rows = assign(describe_files(root, list_images(root)), SplitConfig())
    rows.to_parquet(root / "splits.parquet", index=False)
    return root, pd.read_parquet(root / "splits.parquet")


def test_facts_and_table_count_boxes_and_images_apart(surfaces):
    _, rows = surfaces
    table = box_table(rows)
    facts = box_facts(rows, table)
    assert len(table) == 18
    assert facts["imbalance"].value == 10 / 4 and facts["imbalance"].where == "pit: 10; scratch <b>: 4"
    assert facts["small_boxes"].value == 4 / 18 and facts["small_boxes"].where == "most of them pit"
    assert facts["cut_boxes"].value == 10 / 18 and facts["flawless"].value == 5 / 16 and facts["crowded"].value == 0
    shown = class_table(rows, table).set_index("class")
    assert shown.loc["pit", ["boxes", "images", "median, px"]].tolist() == [14, 10, "12 x 10"]
    assert shown.loc["pit", ["in train", "in val", "in test"]].sum() == 14


def test_the_page_shows_classes_sizes_samples_and_flawless_images(surfaces, tmp_path):
    root, rows = surfaces
    data = DataSet(title="steel", rows=rows, root=root, bits=4, side_px=32, crop="squash")
    own = exploring("detect").explore(data.readable, root, tmp_path, 8)
    report, facts = data_report(data, own, tmp_path)
    page = write_report(report, tmp_path, "data.html").read_text(encoding="utf-8")
    assert "18 boxes of 2 classes on 10 images; 5 images have no defect (31%); of 1 nobody said where" in page
    assert "22.2 % of the boxes are thinner than 3 % of their image (most of them pit)" in page
    assert "16 images in 2 classes" in page
    assert "squashed" in facts and not {"long", "other_label"} & set(facts)
    assert "scratch &lt;b&gt;" in page and "scratch <b>" not in page
    assert {"classes.png", "boxes.png", "samples.png", "flawless.png"} <= {p.name for p in tmp_path.iterdir()}
    assert not re.findall(r'src="(?!data:)', page)


@pytest.mark.parametrize("boxes", [[], [PIT]])
def test_data_without_a_box_or_with_one_image_still_has_a_page(surfaces, tmp_path, boxes):
    root, rows = surfaces
    rows = rows.head(1).assign(boxes=[[box._asdict() for box in boxes]], split="train")
    own = exploring("detect").explore(rows, root, tmp_path, 8)
    assert ("smallest_class" in own.facts) == bool(boxes)
    assert exploring("detect").explore(rows.assign(split=None), root, tmp_path, 8).parts == ()
