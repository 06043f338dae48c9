"""Data with boxes as it turns up: annotations that can't be meant are refused, those that are wrong are judged."""

import json
import shutil

import pytest

from configs.load import load_system
from expectations.contract import check_contract
from flows.command import AGAINST, DONE, MISTAKE, guarded
from tests.box_folders import picture, write_coco, write_yolo
from vision.data.boxes.annotations import read_annotations
from vision.data.config import DataConfig
from vision.data.manifest import describe_files, list_images
from vision.data.sources import materialise
from vision.data.splits import assign

NOTHING = "nothing is copied, no data version"
STOPPED = "the data version, its split and the contract's page; nothing is trained"
NAME = "_annotations.coco.json"


def sound() -> dict:
    """24 images of 60 x 40: 18 with a box, a pit or a scratch, 6 flawless."""
    images = [{"id": no, "file_name": f"{no:02}.jpg", "width": 60, "height": 40} for no in range(24)]
    boxes = [{"id": no, "image_id": no, "category_id": no % 2, "bbox": [5, 5, 20, 15]} for no in range(18)]
    return {
        "images": images,
        "annotations": boxes,
        "categories": [{"id": 0, "name": "pit"}, {"id": 1, "name": "scratch"}],
    }


@pytest.fixture
def line(tmp_path):
    """A folder with sound annotations, and `line.put(content)` to write others beside the same images."""
    return write_coco(tmp_path / "line", sound())


def put(folder, content):
    (folder / NAME).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def take(folder, kind="coco"):
    out = folder.parent / "out"
    return materialise(DataConfig(source={"type": kind, "path": str(folder)}), out, None), out


def refused(folder, capsys, kind="coco"):
    code = guarded(lambda: take(folder, kind) and DONE, verbose=False)
    message = capsys.readouterr().err.partition("error: ")[2].strip()
    assert code == MISTAKE and "allowed:" in message and "to do:" in message and "Traceback" not in message
    assert not (folder.parent / "out").exists()
    return message


def judged(folder, tmp_path):
    """What the contract says of the folder, and the splits table that it was asked about."""
    made, out = take(folder)
    contract = {
        "contract.min_images_per_class": 5,
        "contract.split_share_tolerance": 0.2,
        "contract.min_box_side_px": 2,
    }
    config = load_system("quickstart_defects", contract | {"data.split": {"train": 0.6, "val": 0.2, "test": 0.2}})
    splits = assign(describe_files(out, list_images(out)), config.data.split)
    return check_contract(splits, config, made.labels, tmp_path / "docs").verdict, splits


def test_sound_annotations_pass(line, tmp_path):
    verdict, splits = judged(line, tmp_path)
    assert verdict.passed and not verdict.warnings and splits["split"].notna().all()


def test_an_annotation_without_its_image(line, tmp_path, fault):
    (line / "03.jpg").unlink()
    verdict, splits = judged(line, tmp_path)
    assert not verdict.passed and splits["split"].notna().sum() == 23
    said = "\n".join(verdict.reasons)
    assert "annotations_match: 1 of 24 images outside: 1 no file" in said and "03.jpg" in said
    fault.saw("Datasets", "boxes: an annotated image that is not there", exit=AGAINST, says=said, kept=STOPPED)


def test_an_image_without_its_annotation(line, tmp_path, fault):
    picture(line / "new.jpg", 99)
    verdict, splits = judged(line, tmp_path)
    said = "\n".join(verdict.reasons)
    assert (
        not verdict.passed
        and "1 not annotated" in said
        and splits.set_index("path").loc["images/all/new.jpg", "split"] is None
    )
    fault.saw("Datasets", "boxes: an image that no annotation names", exit=AGAINST, says=said, kept=STOPPED)


def test_boxes_outside_without_area_and_twice(line, tmp_path, fault):
    content = sound()
    content["annotations"][0]["bbox"] = [50, 5, 20, 15]
    content["annotations"][1]["bbox"] = [5, 5, 20, 0]
    content["annotations"].append(content["annotations"][2] | {"id": 99})
    put(line, content)
    verdict, _ = judged(line, tmp_path)
    said = "\n".join(verdict.reasons)
    assert not verdict.passed
    for rule, name in (("box_inside", "00.jpg"), ("box_side", "01.jpg"), ("duplicate_boxes", "02.jpg")):
        assert f"{rule}: 1 of 19 boxes outside" in said and f"{name} box" in said
    fault.saw(
        "Datasets", "boxes: one beyond its image, one without area, one twice", exit=AGAINST, says=said, kept=STOPPED
    )


def test_a_crowd_is_left_out_and_told(line, tmp_path, fault):
    content = sound()
    content["annotations"][0] |= {"iscrowd": 1, "segmentation": {"size": [40, 60], "counts": [10, 20, 2370]}}
    put(line, content)
    made, _ = take(line)
    verdict, _ = judged(line, tmp_path)
    said = "\n".join([*(f"ingest: {note}" for note in made.notes), *verdict.reasons])
    assert not verdict.passed and "1 regions of a crowd left out" in said and "1 crowd only" in said
    fault.saw("Datasets", "boxes: an image with a crowd region only", exit=AGAINST, says=said, kept=STOPPED)


def test_a_category_without_a_box(line, tmp_path, fault):
    content = sound()
    content["categories"].append({"id": 2, "name": "rust"})
    put(line, content)
    verdict, _ = judged(line, tmp_path)
    said = "\n".join(verdict.reasons)
    assert not verdict.passed and "category_has_boxes: 1 of 3 classes outside" in said and "rust" in said
    fault.saw("Datasets", "boxes: a category without one", exit=AGAINST, says=said, kept=STOPPED)


def test_polygons_and_run_lengths_alone_give_boxes(line, tmp_path, fault):
    content = sound()
    content["annotations"][0] |= {"bbox": [], "segmentation": [[5, 5, 25, 5, 25, 20]]}
    content["annotations"][1] |= {"bbox": None, "segmentation": {"size": [40, 60], "counts": [205, 15, 25, 15, 2140]}}
    put(line, content)
    verdict, splits = judged(line, tmp_path)
    assert verdict.passed and [len(boxes) for boxes in splits["boxes"]][:2] == [1, 1]
    fault.saw(
        "Datasets",
        "boxes: polygons and run lengths instead",
        exit="–",
        says="nothing",
        kept="their extents as boxes; the run goes on",
    )


@pytest.mark.parametrize("name", ["broken", "category", "image", "ids"])
def test_annotations_that_can_not_be_meant(name, line, capsys, fault):
    content = sound()
    given = {
        "broken": "broken JSON",
        "category": "a category id that is nowhere",
        "image": "an image id that is nowhere",
        "ids": "image ids twice",
    }[name]
    if name == "category":
        content["annotations"][0]["category_id"] = 7
    if name == "image":
        content["annotations"][0]["image_id"] = 70
    if name == "ids":
        content["images"][1]["id"] = 0
    put(line, '{"images": [' if name == "broken" else content)
    fault.saw("Datasets", f"boxes: {given}", exit=MISTAKE, says=refused(line, capsys), kept=NOTHING)


def test_a_line_of_yolo_with_wrong_columns(tmp_path, capsys, fault):
    root = write_yolo(tmp_path / "line", {"a.jpg": "0 0.5 0.5 0.1 0.1\n", "b.jpg": "0 0.5 0.5 0.1 0.1 0.98\n"})
    said = refused(root, capsys, "yolo")
    assert "b.txt line 1 has 6 columns" in said
    fault.saw("Datasets", "boxes: a YOLO line with a confidence", exit=MISTAKE, says=said, kept=NOTHING)


def test_a_damaged_file_keeps_what_was_taken_before(line, capsys):
    _, out = take(line)
    before = read_annotations(out)
    put(line, '{"images": [')
    assert guarded(lambda: take(line) and DONE, verbose=False) == MISTAKE
    assert read_annotations(out) == before and len(list(out.rglob("*.jpg"))) == 24
    capsys.readouterr()


def test_names_in_any_script(line, tmp_path, fault):
    content = sound()
    content["categories"][0]["name"] = "Lunker 孔 №1"
    for no, entry in enumerate(content["images"]):
        name = f"Prüfling {no:02} 面.jpg"
        shutil.move(line / entry["file_name"], line / name)
        entry["file_name"] = name
    put(line, content)
    verdict, splits = judged(line, tmp_path)
    assert verdict.passed and splits["path"][0] == "images/all/Prüfling 00 面.jpg"
    assert set(splits["label"]) == {"Lunker 孔 №1", "scratch", "normal"}
    fault.saw(
        "Datasets",
        "boxes: names in any script",
        exit="–",
        says="nothing",
        kept="the names as they are; the run goes on",
    )


def test_an_image_that_is_rewritten_while_it_is_copied(line, capsys, monkeypatch, fault):
    from vision.data import sources

    copy = sources.sync_files

    def copy_and_write(*arguments):
        copy(*arguments)
        picture(line / "05.jpg", 77)

    monkeypatch.setattr(sources, "sync_files", copy_and_write)
    assert guarded(lambda: take(line) and DONE, verbose=False) == MISTAKE
    said = capsys.readouterr().err.partition("error: ")[2].strip()
    assert "changed while it was read: 1 was rewritten (line/05.jpg)" in said
    kept = "no data version; the next run makes the folder right"
    fault.saw("Datasets", "boxes: an image rewritten while it is copied", exit=MISTAKE, says=said, kept=kept)
    monkeypatch.undo()
    assert take(line)[0].counts["normal"] == 6
