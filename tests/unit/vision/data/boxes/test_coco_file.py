"""What a COCO file can have wrong so that nobody can tell what is meant: each is refused, with its place."""

import json
from pathlib import Path

import pytest

from tests.box_folders import coco_content, write_coco
from vision.data.config import DataConfig
from vision.data.sources import materialise
from vision.errors import UserError


def spoilt(**changes):
    """COCO content with one thing changed: `annotations__0__bbox=…`."""
    content = coco_content()
    for path, value in changes.items():
        *way, last = [int(part) if part.isdigit() else part for part in path.split("__")]
        place = content
        for part in way:
            place = place[part]
        place[last] = value
    return json.dumps(content)


BROKEN = {
    "no JSON": ('{"images": [', r"is no COCO file: Expecting value: line 1 column 13"),
    "no object": ("[1, 2]", r"is no COCO file: the whole: Input should be"),
    "no categories": (spoilt(categories="none"), r"categories: Input should be a valid (list|array), got none"),
    "no file name": (spoilt(images__0={"id": 1}), r"images.0.file_name: Field required"),
    "three numbers": (spoilt(annotations__0__bbox=[1, 2, 3]), r"annotations.0.bbox.*Field required"),
    "no number": (spoilt(annotations__1__bbox=[1, "x", 3, 4]), r"annotations.1.bbox.1: .*number.*got x"),
    "nan": (spoilt(annotations__0__bbox=[float("nan"), 2, 3, 4]), r"annotations.0.bbox.0.*finite"),
    "neither": (spoilt(annotations__0={"image_id": 1, "category_id": 3}), r"annotations.0 has neither a bbox nor a segm"),
    "broken polygon": (
        spoilt(annotations__0={"image_id": 1, "category_id": 3, "segmentation": [[1, 2]]}), r"broken segmentation",
    ),
    "unknown category": (spoilt(annotations__0__category_id=9), r"1 annotations whose category_id is nowhere: 9"),
    "unknown image": (spoilt(annotations__0__image_id=99), r"1 annotations whose image_id is nowhere: 99"),
    "image id twice": (spoilt(images__1__id=1), r"1 image ids more than once: 1"),
    "annotation id twice": (spoilt(annotations__1__id=1), r"1 annotation ids more than once: 1"),
    "category id twice": (spoilt(categories__1__id=3), r"1 category ids more than once: 3"),
    "file twice": (spoilt(images__1__file_name="a.jpg"), r"1 file names more than once: a.jpg"),
    "category name twice": (spoilt(categories__1__name="pit"), r"more than one category named pit"),
    "a path as a name": (spoilt(categories__1__name="a/b"), r"a category named 'a/b'"),
    "normal with boxes": (spoilt(categories__1__name="normal"), r"has boxes of a category named normal"),
    "out of the folder": (spoilt(images__1__file_name="../b.jpg"), r"'../b.jpg', which lies outside"),
    "a file without a name": (spoilt(images__1__file_name="."), r"names the file '.'"),
    "a nul in a name": (spoilt(images__1__file_name="b\0.jpg"), r"names the file 'b.x00.jpg'"),
    "runs of no number": (
        spoilt(annotations__0={"image_id": 1, "category_id": 3, "segmentation": {"size": [40, 60], "counts": [-5]}}),
        r"annotations.0 has a broken segmentation",
    ),
}  # fmt: skip


def taken(tmp_path: Path):
    config = DataConfig(source={"type": "coco", "path": str(tmp_path / "data/vision")})
    return materialise(config, tmp_path / "set", None)


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_can_not_be_meant_is_refused_and_nothing_is_made(name, tmp_path):
    text, said = BROKEN[name]
    folder = write_coco(tmp_path / "data/vision")
    (folder / "_annotations.coco.json").write_text(text)
    with pytest.raises(UserError, match=said):
        taken(tmp_path)
    assert not (tmp_path / "set").exists()


def test_a_byte_order_mark_is_no_damage(tmp_path):
    folder = write_coco(tmp_path / "data/vision")
    (folder / "_annotations.coco.json").write_text(spoilt(), encoding="utf-8-sig")
    assert taken(tmp_path).labels == ("pit", "scratch")
