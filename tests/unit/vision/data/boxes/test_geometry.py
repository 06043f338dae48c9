"""Boxes in their one form, in the formats of others, and on their way through the manifest."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vision.data.boxes import geometry as module
from vision.data.boxes.annotations import (
    ImageBoxes,
    annotated_labels,
    rarest_labels,
    read_annotations,
    write_annotations,
)
from vision.data.boxes.geometry import Box, boxes_of, has_boxes, overlaps, scaled, usable
from vision.data.config import SplitConfig
from vision.data.manifest import COLUMNS, describe_files, list_images, write_manifest
from vision.data.splits import assign

SCRATCH, PIT = Box("scratch", 2, 3, 12, 7), Box("pit", 30.5, 20, 40, 30)


def dataset(root: Path) -> Path:
    """Three images: two boxes, none, and boxes that nobody drew; and one that is annotated but not there."""
    rng = np.random.default_rng(0)
    (root / "images/steel").mkdir(parents=True)
    for name in ("a", "b", "c"):
        small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        small.resize((60, 40), Image.Resampling.BICUBIC).save(root / f"images/steel/{name}.png")
    images = [
        ImageBoxes("images/steel/b.png", "normal", (), (60, 40)),
        ImageBoxes("images/steel/a.png", "pit", (SCRATCH, PIT), (60, 40)),
        ImageBoxes("images/steel/c.png", "defect", None),
        ImageBoxes("images/steel/d.png", "normal", (), (60, 40), fault="no file: annotated, but not there"),
    ]
    write_annotations(images, ("scratch", "pit"), ("pit", "scratch"), root / "annotations.json")
    return root


def test_annotations_come_back_as_they_were_written_by_path(tmp_path):
    back = read_annotations(dataset(tmp_path))
    assert [image.path[-5:] for image in back] == ["a.png", "b.png", "c.png", "d.png"]
    assert back[0] == ImageBoxes("images/steel/a.png", "pit", (SCRATCH, PIT), (60, 40))
    assert (back[1].boxes, back[2].boxes) == ((), None)
    assert annotated_labels(tmp_path) == ("scratch", "pit")
    assert read_annotations(tmp_path / "images") is None


def test_boxes_flow_from_the_dataset_through_the_manifest_into_the_splits(tmp_path):
    root = dataset(tmp_path)
    rows = describe_files(root, list_images(root))
    assert tuple(rows.columns) == COLUMNS
    write_manifest(rows, tmp_path / "m.parquet")
    table = assign(pd.read_parquet(tmp_path / "m.parquet"), SplitConfig())
    table.to_parquet(tmp_path / "splits.parquet", index=False)
    back = pd.read_parquet(tmp_path / "splits.parquet")["boxes"]
    assert boxes_of(back[0]) == [SCRATCH, PIT]
    assert has_boxes(back[1])
    assert boxes_of(back[1]) == []
    assert not has_boxes(back[2])
    assert table["error"].tolist() == [None, None, None, "no file: annotated, but not there"]


def test_an_image_is_split_by_its_rarest_class_and_is_normal_without_boxes():
    only_scratch = [Box("scratch", 0, 0, 1, 1)]
    assert rarest_labels([[SCRATCH, PIT], only_scratch, only_scratch, []]) == ["pit", "scratch", "scratch", "normal"]


@pytest.mark.parametrize(("width_px", "height_px"), [(60, 40), (641, 333)])
def test_a_box_survives_a_way_through_coco_and_through_yolo(width_px, height_px):
    assert module.from_coco("pit", module.to_coco(PIT)) == PIT
    back = module.from_yolo("pit", module.to_yolo(PIT, width_px, height_px), width_px, height_px)
    assert back[1:] == pytest.approx(PIT[1:], abs=1e-9)


def test_what_lies_outside_the_image_is_cut_off_and_what_has_no_area_is_no_box():
    over = Box("pit", -5, 30, 20, 50)
    kept = usable([over, Box("pit", 70, 0, 90, 10), Box("pit", 5, 5, 5, 9), Box("pit", 9, 9, 5, 5)], 60, 40)
    assert kept == [Box("pit", 0, 30, 20, 40)]
    np.testing.assert_allclose(scaled(kept, 60, 40), [[0, 0.75, 1 / 3, 1]], rtol=1e-6)
    assert scaled([], 60, 40).shape == (0, 4)


def test_overlap_is_the_shared_area_by_the_whole():
    one = [[0, 0, 10, 10]]
    np.testing.assert_allclose(
        overlaps(one, [[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [3, 3, 3, 3]]), [[1, 1 / 3, 0, 0]]
    )
    assert overlaps([], one).shape == (0, 1)
