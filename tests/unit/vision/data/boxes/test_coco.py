"""COCO folders: VISION's layout, any other, and what a file can have wrong."""

import tarfile
from pathlib import Path

import pytest

from configs.load import load_system
from tests.box_folders import CATEGORIES, coco_content, picture, write_coco
from vision.data.boxes.annotations import annotated_labels, read_annotations
from vision.data.boxes.geometry import Box
from vision.data.boxes.images import Size, turned
from vision.data.config import DataConfig
from vision.data.manifest import describe_files, list_images
from vision.data.sources import materialise
from vision.errors import UserError

SCRATCH, PIT = Box("scratch", 2, 3, 22, 13), Box("pit", 30.5, 10, 42.5, 22.5)


def taken(tmp_path: Path, source: dict, **more):
    """(what was materialised, ImageBoxes by path) of a source in `tmp_path/data`."""
    config = DataConfig(source={"type": "coco", "path": "vision"} | source, **more)
    made = materialise(config, tmp_path / "set", tmp_path / "data")
    return made, {image.path: image for image in read_annotations(tmp_path / "set")}


def vision(root: Path) -> Path:
    """Two products with train and val; images of one name lie in all of them."""
    for product, split in (("Cable", "train"), ("Cable", "val"), ("Screw", "train")):
        write_coco(root / product / split)
    picture(root / "Cable/inference/x.jpg")
    return root


def test_visions_layout_is_taken_whole_with_train_and_val_together(tmp_path):
    vision(tmp_path / "data/vision")
    made, images = taken(tmp_path, {})
    assert made.labels == ("Cable: pit", "Cable: scratch", "Screw: pit", "Screw: scratch")
    assert len(images) == 6 and made.counts["normal"] == 3
    assert [box.label for box in images["images/Cable/val_a.jpg"].boxes] == ["Cable: scratch", "Cable: pit"]
    assert images["images/Screw/train_b.jpg"].boxes == ()
    assert all((tmp_path / "set" / path).is_file() for path in images)
    assert made.notes == ("Cable/inference left out: no _annotations.coco.json there (1 images)",)


def test_one_product_keeps_its_own_names(tmp_path):
    vision(tmp_path / "data/vision")
    made, images = taken(tmp_path, {"products": ["Screw"]})
    assert made.labels == ("pit", "scratch") and len(images) == 2
    assert images["images/Screw/train_a.jpg"].boxes == (SCRATCH, PIT)
    with pytest.raises(UserError, match=r"Bolt.*\n.*Cable, Screw"):
        taken(tmp_path, {"products": ["Bolt"]})


def test_any_coco_folder_is_taken_its_images_elsewhere(tmp_path):
    root = tmp_path / "data/vision"
    write_coco(root / "pictures", coco_content(("p/a.jpg", "q/a.jpg")), "unused.json")
    (root / "notes").mkdir()
    (root / "pictures/unused.json").rename(root / "notes/instances.json")
    made, images = taken(tmp_path, {"annotations": "notes/instances.json", "images": "pictures"})
    assert set(images) == {"images/all/p_a.jpg", "images/all/q_a.jpg"}
    assert annotated_labels(tmp_path / "set") == made.labels == ("pit", "scratch")


def test_presence_tells_defects_from_normal_whatever_the_defect(tmp_path):
    write_coco(tmp_path / "data/vision/train")
    made, images = taken(tmp_path, {"label_by": "presence"})
    assert made.labels == ("normal", "defect") and made.counts == {"defect": 1, "normal": 1}
    assert images["images/all/train_a.jpg"].boxes == (SCRATCH, PIT)


def test_classes_that_are_not_taken_lose_their_boxes_and_their_images_but_not_in_silence(tmp_path):
    content = coco_content(("a.jpg", "b.jpg", "c.jpg"))
    content["annotations"].append({"id": 3, "image_id": 3, "category_id": 7, "bbox": [1, 1, 9, 9]})
    write_coco(tmp_path / "data/vision", content)
    made, images = taken(tmp_path, {}, classes=["pit"])
    assert made.labels == ("pit",) and set(images) == {"images/all/a.jpg", "images/all/b.jpg"}
    assert images["images/all/a.jpg"].boxes == (PIT,)
    assert made.notes == (
        "1 images left out that show only classes that are not taken",
        "1 boxes left out of classes that are not taken, on images that stay",
    )
    assert taken(tmp_path, {}, top_k=2)[0].labels == ("scratch", "pit")
    with pytest.raises(UserError, match=r"rust.*\n.*pit, scratch"):
        taken(tmp_path, {}, classes=["rust"])


def test_parts_are_named_by_the_path_or_by_a_table(tmp_path):
    root = write_coco(tmp_path / "data/vision/train", coco_content(("p1_a.jpg", "p1_b.jpg", "p2_a.jpg")))
    taken(tmp_path, {"groups": {"table": None, "pattern": "train/(p.)_"}})
    assert list_images(tmp_path / "set")["group"].tolist() == ["p1", "p1", "p2"]
    (root.parent / "parts.csv").write_text("file,part\ntrain/p1_a.jpg,x\ntrain/p2_a.jpg,x\nother.jpg,y\n")
    taken(tmp_path, {"groups": {"table": "parts.csv", "key_column": "part"}})
    assert list_images(tmp_path / "set")["group"].tolist() == ["x", None, "x"]
    with pytest.raises(UserError, match=r"groups.pattern"):
        taken(tmp_path, {"groups": {"table": None, "pattern": "(board)"}})


def test_the_defects_config_takes_products_of_which_no_part_is_known(tmp_path):
    for product, names in {"PCB": ("00041020.jpg", "00041022.jpg"), "Cable": ("a.jpg", "b.jpg")}.items():
        write_coco(tmp_path / "data/vision" / product / "train", coco_content(names))
    source = load_system("vision_defects").data.source.model_dump() | {"path": "vision"}
    taken(tmp_path, source)
    assert list_images(tmp_path / "set")["group"].tolist() == [None, None, "PCB//41", "PCB//41"]
    taken(tmp_path, source | {"products": ["Cable"]})
    assert list_images(tmp_path / "set")["group"].tolist() == [None, None]
    with pytest.raises(UserError, match=r"groups.pattern"):
        taken(tmp_path, source | {"path": "vision/PCB"})


def test_classes_that_no_image_shows_are_refused(tmp_path):
    content = coco_content(("a.jpg",))
    content["annotations"] = content["annotations"][:1]
    write_coco(tmp_path / "data/vision", content)
    with pytest.raises(UserError, match=r"no image of .* shows pit"):
        taken(tmp_path, {}, classes=["pit"])


def test_an_archive_of_the_hub_is_read_as_coco(tmp_path):
    vision(tmp_path / "made")
    for product in ("Cable", "Screw"):
        with tarfile.open(tmp_path / f"{product}.tar.gz", "w:gz") as archive:
            archive.add(tmp_path / "made" / product, product)
    source = {"type": "hub", "repo_id": "VISION-Workshop/VISION-Datasets", "filename": ["Cable.tar.gz", "Screw.tar.gz"]}
    config = DataConfig(source=source | {"boxes": {"format": "coco"}})
    made = materialise(config, tmp_path / "set", tmp_path)
    assert len(read_annotations(tmp_path / "set")) == 6 and len(made.labels) == 4
    with pytest.raises(ValueError, match="one hash for each of 2 archives"):
        DataConfig(source=source | {"sha256": "00"})


def test_a_box_turns_with_the_photograph_when_it_was_drawn_on_its_stored_side(tmp_path):
    content = coco_content(("a.jpg",))
    folder = tmp_path / "data/vision"
    picture(folder / "a.jpg", size_px=(60, 40), orientation=6)
    write_coco(folder, content)
    lying = taken(tmp_path, {})[1]["images/all/a.jpg"]
    assert lying.size_px == (40, 60)
    assert lying.boxes[0] == Box("scratch", 27, 2, 37, 22)
    content["images"][0] |= {"width": 40, "height": 60}
    write_coco(folder, content)
    assert taken(tmp_path, {})[1]["images/all/a.jpg"].boxes[0] == SCRATCH


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_boxes_turn_as_pillow_turns_pixels(orientation):
    import numpy as np
    from PIL import Image, ImageOps

    pixels = np.zeros((40, 60), np.uint8)
    pixels[3:13, 2:22] = 255
    image = Image.fromarray(pixels)
    image.getexif()[274] = orientation
    rows, columns = np.nonzero(np.asarray(ImageOps.exif_transpose(image)))
    box = turned(SCRATCH, Size((60, 40), orientation))
    assert box[1:] == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


POLYGON = [[5, 6, 25, 6, 25, 16.5, 5, 16.5]]
RUNS = {"size": [40, 60], "counts": [10 * 40 + 5, 8, 32, 8, 60 * 40 - 10 * 40 - 5 - 48]}


def test_polygons_and_run_lengths_give_their_extent(tmp_path):
    from faster_coco_eval.core import mask

    packed = mask.frPyObjects(RUNS, 40, 60)
    content = coco_content()
    content["annotations"] = [
        {"id": 1, "image_id": 1, "category_id": 3, "segmentation": POLYGON, "bbox": []},
        {"id": 2, "image_id": 1, "category_id": 3, "segmentation": RUNS},
        {"id": 3, "image_id": 1, "category_id": 3, "segmentation": packed | {"counts": packed["counts"].decode()}},
    ]
    write_coco(tmp_path / "data/vision", content)
    boxes = taken(tmp_path, {})[1]["images/all/a.jpg"].boxes
    assert boxes == (Box("pit", 5, 6, 25, 16.5), Box("pit", 10, 5, 12, 13), Box("pit", 10, 5, 12, 13))


def test_a_crowd_is_no_box_and_an_image_of_nothing_else_is_not_called_flawless(tmp_path):
    content = coco_content()
    for image in (1, 2):
        crowd = {"id": 10 + image, "image_id": image, "category_id": 3, "segmentation": RUNS, "iscrowd": 1}
        content["annotations"].append(crowd)
    write_coco(tmp_path / "data/vision", content)
    made, images = taken(tmp_path, {})
    assert len(images["images/all/a.jpg"].boxes) == 2
    assert images["images/all/b.jpg"].fault.startswith("crowd only")
    assert made.notes == ("2 regions of a crowd left out: they hold many objects and are no box",)


def test_what_does_not_match_is_a_row_that_the_contract_judges(tmp_path):
    content = coco_content(("a.jpg", "gone.jpg", "small.jpg"))
    folder = write_coco(tmp_path / "data/vision", content)
    (folder / "gone.jpg").unlink()
    picture(folder / "small.jpg", size_px=(30, 20))
    picture(folder / "extra.jpg")
    taken(tmp_path, {})
    rows = describe_files(tmp_path / "set", list_images(tmp_path / "set")).set_index("path")
    assert rows.loc["images/all/a.jpg", "error"] is None
    assert rows.loc["images/all/gone.jpg", "error"] == "no file: annotated, but not there"
    assert rows.loc["images/all/extra.jpg", "error"] == "not annotated: _annotations.coco.json does not name it"
    assert rows.loc["images/all/small.jpg", "error"] == "other size: annotated at 60 x 40, the file has 30 x 20"
    assert taken(tmp_path, {"unlisted": "normal"})[1]["images/all/extra.jpg"].boxes == ()
    assert "images/all/extra.jpg" not in taken(tmp_path, {"unlisted": "leave_out"})[1]


def test_boxes_beyond_the_image_and_without_area_are_kept_for_the_contract(tmp_path):
    content = coco_content()
    content["annotations"][0]["bbox"] = [50, 30, 40, 40]
    content["annotations"][1]["bbox"] = [5, 5, 0, 7]
    write_coco(tmp_path / "data/vision", content)
    boxes = taken(tmp_path, {})[1]["images/all/a.jpg"].boxes
    assert boxes == (Box("scratch", 50, 30, 90, 70), Box("pit", 5, 5, 5, 12))


def test_names_in_any_script_stay_what_they_are(tmp_path):
    content = coco_content(("Prüfling №1.jpg", "检查/面.jpg"))
    content["categories"][0] = {"id": 3, "name": "Lunker ärgerlich 孔"}
    write_coco(tmp_path / "data/vision/Gehäuse/train", content)
    made, images = taken(tmp_path, {})
    assert made.labels == ("Lunker ärgerlich 孔", "scratch")
    assert set(images) == {"images/Gehäuse/train_Prüfling №1.jpg", "images/Gehäuse/train_检查_面.jpg"}
    assert describe_files(tmp_path / "set", list_images(tmp_path / "set"))["error"].isna().all()


def test_a_category_named_normal_that_has_no_box_is_none(tmp_path):
    content = coco_content() | {"categories": [*CATEGORIES, {"id": 1, "name": "normal"}]}
    write_coco(tmp_path / "data/vision", content)
    assert taken(tmp_path, {})[0].labels == ("pit", "scratch")
