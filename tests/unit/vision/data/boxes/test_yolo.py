"""YOLO folders: their layouts, and what a line can have wrong."""

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.box_folders import picture, write_yolo
from vision.data.boxes.annotations import read_annotations
from vision.data.config import DataConfig
from vision.data.sources import materialise
from vision.errors import UserError

LINE = "1 0.5 0.5 0.5 0.25\n"


def taken(tmp_path: Path, **source):
    config = DataConfig(source={"type": "yolo", "path": str(tmp_path / "yolo")} | source)
    made = materialise(config, tmp_path / "set", None)
    return made, {image.path: image for image in read_annotations(tmp_path / "set")}


def test_a_tree_of_images_and_labels_is_taken_with_its_flawless_images(tmp_path):
    write_yolo(tmp_path / "yolo", {"train/a.jpg": LINE + "0 0.1 0.1 0.2 0.2\n", "train/b.jpg": "", "val/a.jpg": LINE})
    made, images = taken(tmp_path)
    assert made.labels == ("pit", "scratch") and made.counts == {"normal": 1, "pit": 1, "scratch": 1}
    first = images["images/train/a.jpg"]
    assert first.boxes[0][1:] == pytest.approx((15, 15, 45, 25)) and first.boxes[0].label == "scratch"
    assert first.boxes[1][1:] == pytest.approx((0, 0, 12, 8)) and first.size_px == (60, 40)
    assert images["images/train/b.jpg"].boxes == ()


@pytest.mark.parametrize(
    ("image", "label"),
    [("train/images/a.jpg", "train/labels/a.txt"), ("a.jpg", "a.txt"), ("images/a.jpg", "labels/a.txt")],
)
def test_the_label_file_is_found_in_each_of_the_usual_places(tmp_path, image, label):
    root = tmp_path / "yolo"
    picture(root / image)
    (root / label).parent.mkdir(parents=True, exist_ok=True)
    (root / label).write_text(LINE)
    (root / "classes.txt").write_text("pit\nscratch\n")
    made, images = taken(tmp_path)
    assert [len(one.boxes) for one in images.values()] == [1] and made.labels == ("pit", "scratch")


@pytest.mark.parametrize(("image", "label"), [("a.jpg", "a.txt"), ("images/a.jpg", "images/a.txt")])
def test_a_text_beside_the_image_is_found_below_any_folder_named_images(tmp_path, image, label):
    root = tmp_path / "images/yolo"
    picture(root / image)
    (root / label).write_text(LINE)
    made, images = taken(tmp_path, path=str(root), names=["pit", "scratch"])
    assert [len(one.boxes or ()) for one in images.values()] == [1] and made.counts == {"scratch": 1}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("classes.txt", "pit\n\nscratch\n", "category named ''"),
        ("classes.txt", "Lunker \xe4", "is no text"),
        ("data.yaml", "names: pit", "names is 'pit'"),
        ("data.yaml", "names: {0: pit, x: scratch}", "names has the numbers 0, x"),
    ],
)
def test_class_names_that_would_be_others_are_refused(tmp_path, name, text, said):
    root = write_yolo(tmp_path / "yolo", {"a.jpg": LINE})
    (root / "data.yaml").unlink()
    (root / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=said):
        taken(tmp_path)


def test_a_byte_order_mark_is_no_part_of_a_class_name(tmp_path):
    root = write_yolo(tmp_path / "yolo", {"a.jpg": LINE})
    (root / "data.yaml").unlink()
    (root / "classes.txt").write_text("pit\nscratch\n\n", encoding="utf-8-sig")
    assert taken(tmp_path)[0].labels == ("pit", "scratch")


@pytest.mark.parametrize("names", ["names: {0: pit, 1: scratch}", "names:\n- pit\n- scratch\nnc: 2"])
def test_names_may_be_a_list_or_numbered(tmp_path, names):
    write_yolo(tmp_path / "yolo", {"a.jpg": LINE, "b.jpg": ""}, names)
    assert taken(tmp_path)[0].labels == ("pit", "scratch")
    assert taken(tmp_path, names=["one", "two"])[0].labels == ("one", "two")


def test_a_polygon_gives_its_extent(tmp_path):
    write_yolo(tmp_path / "yolo", {"a.jpg": "0 0.1 0.2 0.5 0.2 0.3 0.6\n"})
    (box,) = taken(tmp_path)[1]["images/all/a.jpg"].boxes
    assert box[1:] == pytest.approx((6, 8, 30, 24))


def test_images_without_labels_and_labels_without_images_are_rows_for_the_contract(tmp_path):
    root = write_yolo(tmp_path / "yolo", {"a.jpg": LINE, "b.jpg": LINE})
    (root / "labels/a.txt").unlink()
    (root / "images/b.jpg").unlink()
    (root / "images/c.jpg").write_bytes(b"no image")
    (root / "labels/c.txt").write_text(LINE)
    images = taken(tmp_path)[1]
    assert images["images/all/a.jpg"].fault == "not annotated: no a.txt"
    assert images["images/all/b.txt"].fault == "no file: annotated, but not there"
    assert images["images/all/c.jpg"].fault.startswith("unreadable")
    assert taken(tmp_path, unlisted="normal")[1]["images/all/a.jpg"].boxes == ()
    assert "images/all/a.jpg" not in taken(tmp_path, unlisted="leave_out")[1]


def test_a_link_out_of_the_folder_and_a_name_that_is_no_text_are_refused(tmp_path):
    root = write_yolo(tmp_path / "yolo", {"a.jpg": LINE})
    odd = Path(os.fsdecode(os.fsencode(root) + b"/images/\xff.jpg"))
    shutil.copyfile(root / "images/a.jpg", odd)
    with pytest.raises(UserError, match="UTF-8"):
        taken(tmp_path)
    odd.unlink()
    (root / "images/b.jpg").symlink_to(picture(tmp_path / "secret.jpg"))
    with pytest.raises(UserError, match="leads out of the folder"):
        taken(tmp_path)


BROKEN = {
    "three columns": ("0 0.5 0.5\n", "line 1 has 3 columns"),
    "a confidence": ("\n0 0.5 0.5 0.1 0.1 0.9\n", "line 2 has 6 columns"),
    "half a point": ("0 0.1 0.2 0.5 0.2 0.3 0.6 0.7\n", "line 1 has 8 columns"),
    "a name": ("pit 0.5 0.5 0.1 0.1\n", "line 1 is 'pit 0.5"),
    "a comma": ("0, 0.5, 0.5, 0.1, 0.1\n", "line 1 is '0, 0.5"),
    "nan": ("0 nan 0.5 0.1 0.1\n", "not finite"),
    "unknown class": ("5 0.5 0.5 0.1 0.1\n", "is of class 5"),
    "below zero": ("-1 0.5 0.5 0.1 0.1\n", "is of class -1"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_line_that_can_not_be_meant_is_refused_with_its_number(name, tmp_path):
    text, said = BROKEN[name]
    write_yolo(tmp_path / "yolo", {"a.jpg": text, "b.jpg": LINE})
    with pytest.raises(UserError, match=re.escape(said)):
        taken(tmp_path)
    assert not (tmp_path / "set").exists()


def test_a_label_file_in_another_encoding_or_without_class_names_is_refused(tmp_path):
    root = write_yolo(tmp_path / "yolo", {"a.jpg": LINE})
    (root / "labels/a.txt").write_bytes(b"\xff\xfe0 0")
    with pytest.raises(UserError, match="is no text"):
        taken(tmp_path)
    (root / "data.yaml").write_text("names: {0: pit, 2: scratch}")
    with pytest.raises(UserError, match="names has the numbers 0, 2"):
        taken(tmp_path)
    (root / "data.yaml").unlink()
    with pytest.raises(UserError, match="does not say what its classes are called"):
        taken(tmp_path)
