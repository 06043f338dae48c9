"""Labels that people gave, in data with boxes: what they can add, what waits, what they dispute."""

from pathlib import Path

from tests.box_folders import coco_content, picture, write_coco
from vision.data.boxes.annotations import read_annotations
from vision.data.boxes.geometry import Box
from vision.data.config import DataConfig
from vision.data.labels.store import LabelRow, write_labels
from vision.data.sources import materialise
from vision.package import sha256_file


def store_of(tmp_path: Path, said: dict[Path, str], boxes: str = "") -> Path:
    store = tmp_path / "store"
    rows = []
    for file, label in said.items():
        kept = store / "images" / label / f"{sha256_file(file)}.jpg"
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(file.read_bytes())
        name = kept.relative_to(store).as_posix()
        rows.append(LabelRow(sha256=kept.stem, label=label, file=name, id="1", at="2026-11-21T00:00:00Z", boxes=boxes))
    write_labels(store, rows)
    return store


def made(tmp_path: Path, said: dict[Path, str], label_by: str, boxes: str = ""):
    source = {"type": "coco", "path": str(tmp_path / "data"), "label_by": label_by}
    got = materialise(DataConfig(source=source), tmp_path / "set", None, labelled=store_of(tmp_path, said, boxes))
    return got, {image.path: image for image in read_annotations(tmp_path / "set")}


def test_a_detector_takes_images_called_normal_and_lets_named_defects_wait_for_a_box(tmp_path):
    write_coco(tmp_path / "data")
    new = [picture(tmp_path / f"{name}.jpg", seed) for seed, name in enumerate(("fine", "pitted"), 50)]
    got, images = made(tmp_path, {new[0]: "normal", new[1]: "pit"}, "class")
    added = {path: image for path, image in images.items() if "labelled" in path}
    assert [(image.label, image.boxes) for image in added.values()] == [("normal", ())]
    assert (got.labelled, got.counts) == (1, {"normal": 2, "pit": 1})
    assert len(got.notes) == 1 and got.notes[0].startswith("1 images that people called by a defect's name wait")


def test_a_detector_takes_an_image_whose_boxes_were_drawn(tmp_path):
    write_coco(tmp_path / "data")
    new = {picture(tmp_path / "pitted.jpg", 50): "pit"}
    drawn = '[["pit", 1.5, 2, 9, 8], ["scratch", 20, 2, 50, 6], ["of another time", 1, 1, 5, 5]]'
    got, images = made(tmp_path, new, "class", drawn)
    [added] = [image for path, image in images.items() if "labelled" in path]
    assert added.boxes == (Box("pit", 1.5, 2, 9, 8), Box("scratch", 20, 2, 50, 6))
    assert (got.labelled, got.notes) == (1, ())


def test_where_presence_is_learned_a_named_defect_is_taken_without_its_place(tmp_path):
    write_coco(tmp_path / "data")
    new = [picture(tmp_path / f"{name}.jpg", seed) for seed, name in enumerate(("fine", "bad"), 50)]
    got, images = made(tmp_path, {new[0]: "normal", new[1]: "defect"}, "presence")
    added = {image.label: image.boxes for path, image in images.items() if "labelled" in path}
    assert added == {"normal": (), "defect": None}
    assert got.counts == {"defect": 2, "normal": 2} and not got.notes


def test_an_image_of_the_source_is_not_overruled_and_the_dispute_is_told(tmp_path):
    folder = write_coco(tmp_path / "data", coco_content(("a.jpg", "b.jpg")))
    got, images = made(tmp_path, {folder / "a.jpg": "normal", folder / "b.jpg": "pit"}, "class")
    assert got.conflicts == (("a.jpg", "pit and scratch", "normal"), ("b.jpg", "normal", "pit"))
    assert len(images) == 2
    agreed, _ = made(tmp_path, {folder / "a.jpg": "pit", folder / "b.jpg": "normal"}, "class")
    assert agreed.conflicts == () and agreed.labelled == 0
