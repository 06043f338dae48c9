"""Boxes out to others and back: nothing is lost but what can't be told."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from flows.convert_boxes import main
from tests.box_folders import coco_content, picture, write_coco
from vision.data.boxes.annotations import ImageBoxes, write_annotations
from vision.data.boxes.coco import read_coco_folder
from vision.data.boxes.export import export_of_dataset, export_of_set, write_export
from vision.data.boxes.geometry import Box
from vision.data.boxes.yolo import read_yolo_folder
from vision.data.config import CocoLayout, YoloLayout
from vision.errors import UserError
from vision.package import sha256_file


def told(found):
    """What there is: file bytes and boxes by split and name."""
    export = export_of_set(found)
    return {(one.split, one.name): (one.file.read_bytes(), one.size_px, one.boxes) for one in export.images}


def test_coco_to_yolo_to_coco_gives_back_every_image_and_every_box(tmp_path):
    odd = coco_content(("ä 检.jpg", "b.png"))
    odd["images"][0] |= {"width": 641, "height": 333}
    odd["annotations"][0]["bbox"] = [0.123456789, 332.2, 640.7, 0.8]
    write_coco(tmp_path / "from/Gehäuse/train", odd)
    write_coco(tmp_path / "from/Gehäuse/val")
    first = read_coco_folder(tmp_path / "from", CocoLayout())
    write_export(export_of_set(first), "yolo", tmp_path / "yolo")
    second = read_yolo_folder(tmp_path / "yolo", YoloLayout())
    write_export(export_of_set(second), "coco", tmp_path / "coco")
    third = read_coco_folder(tmp_path / "coco", CocoLayout())
    assert first.categories == second.categories == third.categories == ("pit", "scratch")
    before, after = told(first), told(third)
    assert before.keys() == after.keys() and len(before) == 4
    for key, (data, size_px, boxes) in before.items():
        assert after[key][:2] == (data, size_px)
        for box, other in zip(boxes, after[key][2], strict=True):
            assert box.label == other.label and box[1:] == pytest.approx(other[1:], abs=1e-6)


def test_coco_comes_back_from_coco_to_the_last_digit(tmp_path):
    write_coco(tmp_path / "from/train")
    first = read_coco_folder(tmp_path / "from", CocoLayout())
    write_export(export_of_set(first), "coco", tmp_path / "to")
    assert told(read_coco_folder(tmp_path / "to", CocoLayout())) == told(first)


def test_a_systems_data_goes_out_by_its_splits_without_what_is_not_known(tmp_path):
    files = [picture(tmp_path / f"set/images/plate/{name}.jpg", seed) for seed, name in enumerate("abc")]
    images = [
        ImageBoxes("images/plate/a.jpg", "pit", (Box("pit", 1, 2, 3, 4),)),
        ImageBoxes("images/plate/b.jpg", "normal", ()),
        ImageBoxes("images/plate/c.jpg", "defect", None),
        ImageBoxes("images/plate/d.jpg", "normal", (), fault="no file: annotated, but not there"),
    ]
    write_annotations(images, ("pit",), ("pit",), tmp_path / "set/annotations.json")
    export = export_of_dataset(tmp_path / "set", {sha256_file(files[0]): "test"})
    assert [(one.split, one.name, len(one.boxes)) for one in export.images] == [
        ("test", "plate_a.jpg", 1),
        ("all", "plate_b.jpg", 0),
    ]
    assert export.left_out == {"no box known": 1, "no file": 1}


def test_a_system_is_written_by_the_splits_that_its_models_were_trained_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VISIONOPS_STATE", str(tmp_path / "state"))
    root, system = tmp_path / "state/datasets/steel", tmp_path / "state/systems/steel"
    file = picture(root / "images/plate/a.jpg")
    write_annotations([ImageBoxes("images/plate/a.jpg", "normal", ())], ("pit",), ("pit",), root / "annotations.json")
    words = ["--system", "steel", "--format", "coco", "--to"]
    assert main([*words, str(tmp_path / "before")]) == 0
    assert "trained no model yet" in capsys.readouterr().out and (tmp_path / "before/all/plate_a.jpg").is_file()
    system.mkdir(parents=True)
    pd.DataFrame({"sha256": [sha256_file(file)], "split": ["val"]}).to_parquet(system / "placements.parquet")
    (system / "split_head.json").write_text(json.dumps({"path": "placements.parquet"}))
    assert main([*words, str(tmp_path / "after")]) == 0
    assert (tmp_path / "after/val/plate_a.jpg").is_file()
    assert main(["--system", "copper", "--format", "coco", "--to", str(tmp_path / "none")]) == 2


def test_the_command_says_what_it_wrote_and_never_writes_over_anything(tmp_path, capsys):
    write_coco(tmp_path / "from/train")
    words = ["--from", str(tmp_path / "from"), "--to", str(tmp_path / "to"), "--format"]
    assert main([*words, "yolo"]) == 0
    assert "2 images with 2 boxes of 2 classes as yolo" in capsys.readouterr().out
    before = sorted(tmp_path.rglob("*"))
    assert main([*words, "coco"]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_an_export_that_fails_half_way_leaves_nothing(tmp_path):
    folder = write_coco(tmp_path / "from/train", coco_content(("train/a.jpg", "a.jpg")))
    with pytest.raises(UserError, match="would both become"):
        write_export(export_of_set(read_coco_folder(folder.parent, CocoLayout())), "coco", tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_two_images_that_would_share_a_label_file_are_refused_and_nothing_is_left(tmp_path):
    folder = write_coco(tmp_path / "from", coco_content(("a.jpg", "a.png")))
    export = export_of_set(read_coco_folder(folder, CocoLayout()))
    with pytest.raises(UserError, match=r"a.jpg and a.png would share one label file"):
        write_export(export, "yolo", tmp_path / "to")
    assert sorted(tmp_path.iterdir()) == [folder]
    write_export(export, "coco", tmp_path / "to")


def test_yolos_tools_find_the_splits_beside_data_yaml(tmp_path):
    for split in ("train", "valid"):
        write_coco(tmp_path / "from" / split)
    write_export(export_of_set(read_coco_folder(tmp_path / "from", CocoLayout())), "yolo", tmp_path / "to")
    content = yaml.safe_load((tmp_path / "to/data.yaml").read_text())
    assert "path" not in content, "a relative one is looked up elsewhere"
    assert content["train"] == "images/train" and content["val"] == "images/valid"


def test_an_empty_folder_may_be_the_one_where_we_are_or_a_link(tmp_path, monkeypatch):
    export = export_of_set(read_coco_folder(write_coco(tmp_path / "from/train"), CocoLayout()))
    (tmp_path / "here").mkdir()
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.chdir(tmp_path / "here")
    for to in (Path(), tmp_path / "link"):
        write_export(export, "coco", to)
    assert (tmp_path / "here/all/a.jpg").is_file() and (tmp_path / "real/all/a.jpg").is_file()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is not empty"):
        write_export(export, "coco", tmp_path / "file")


def test_the_command_tells_of_crowds_that_it_leaves_out(tmp_path, capsys):
    content = coco_content()
    crowd = {"id": 9, "image_id": 1, "category_id": 3, "bbox": [0, 0, 9, 9], "iscrowd": 1}
    write_coco(tmp_path / "from", content | {"annotations": [*content["annotations"], crowd]})
    assert main(["--from", str(tmp_path / "from"), "--to", str(tmp_path / "to"), "--format", "coco"]) == 0
    assert "1 regions of a crowd left out" in capsys.readouterr().out


def test_a_coco_folder_is_taken_as_such_whatever_lies_beside_and_products_are_not_ignored(tmp_path, capsys):
    write_coco(tmp_path / "from/Steel/train")
    (tmp_path / "from/compose.yaml").write_text("services: {}")
    words = ["--from", str(tmp_path / "from"), "--to", str(tmp_path / "to"), "--format", "yolo"]
    assert main(words) == 0 and "2 images with 2 boxes" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main(["--system", "steel", "--products", "Steel", "--to", str(tmp_path / "none"), "--format", "coco"])
