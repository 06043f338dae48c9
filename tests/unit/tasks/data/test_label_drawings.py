"""Boxes that a labelling tool drew on a queue's images, taken back as labels with places."""

import json
from pathlib import Path

import pytest

from tasks.data.label_queue import make_queue
from tasks.data.queue_labels import take_sheets
from tasks.run import open_run
from tests.label_desk import Served, ids_of, png
from vision.data.labels.store import read_labels
from vision.errors import UserError
from vision.records_read import read_feedback


@pytest.fixture
def detecting(tmp_path, monkeypatch):
    """Two images in a queue, of which the model found the first one pitted and the second normal."""
    monkeypatch.setenv("VISIONOPS_STATE", str(tmp_path / "state"))
    served = Served(open_run("quickstart_defects", {"data.classes": ["dent", "pit", "scratch"]}))
    for seed, label in enumerate(("pit", "normal")):
        box = {"label": "pit", "confidence": 0.52, "box": [1, 2, 9, 8]}
        answer = {"label": label, "threshold": 0.5, "boxes": [box] * (label == "pit"), "width_px": 64, "height_px": 64}
        served.answer(png(seed), 0.52, label, answer=answer)
    make_queue(served.run)
    return served


def drawing(served, *boxes, size_px=(64, 64)):
    """A tool's export of the first queue. boxes: (number of the image, category, COCO's bbox)."""
    folder = served.sheet().parent
    images = [
        {"id": no, "file_name": Path(item["file"]).name, "width": size_px[0], "height": size_px[1]}
        for no, item in enumerate(json.loads((folder / "queue.json").read_text())["items"])
    ]
    names = ["dent", "pit", "scratch", "rust"]
    categories = [{"id": no, "name": name} for no, name in enumerate(names)]
    annotations = [
        {"id": no, "image_id": image, "category_id": names.index(name), "bbox": bbox}
        for no, (image, name, bbox) in enumerate(boxes)
    ]
    path = folder / "_annotations.coco.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def pitted_of(served) -> int:
    """The number of the image that the model called pitted."""
    items = json.loads((served.sheet().parent / "queue.json").read_text())["items"]
    return [item["guess"] for item in items].index("pit")


def taken(served):
    rows = read_feedback(served.run.state.feedback(served.name)).set_index("id")
    return {made: (rows.loc[made, "label"], rows.loc[made, "boxes"]) for made in rows.index}


def test_boxes_drawn_on_a_queues_images_come_back_as_labels_with_places(detecting):
    ids, pitted = ids_of(detecting.sheet().parent), pitted_of(detecting)
    drawing(detecting, (pitted, "scratch", [0, 0, 10, 5]), (pitted, "pit", [2, 2, 8, 6.5]))
    assert take_sheets(detecting.run).queues == {"1": 1}  # nobody has looked at the other, or it is flawless
    boxes = [{"label": "scratch", "box": [0, 0, 10, 5]}, {"label": "pit", "box": [2, 2, 10, 8.5]}]
    assert taken(detecting) == {ids[pitted]: ("pit", boxes)}  # as the model called it, which was right
    assert take_sheets(detecting.run).queues == {"1": 0}
    drawing(detecting, (pitted, "scratch", [0, 0, 10, 5]), (1 - pitted, "dent", [1, 1, 9, 9]))
    detecting.fill(**{ids[1 - pitted]: "dent"})
    assert take_sheets(detecting.run).queues == {"1": 2}
    assert {label for label, _ in taken(detecting).values()} == {"scratch", "dent"}
    rows = read_labels(detecting.run.state.labelled(detecting.name))
    assert sorted(row.places[0].label for row in rows) == ["dent", "scratch"]


@pytest.mark.parametrize(
    ("boxes", "size_px", "told"),
    [
        ([(0, "pit", [60, 60, 9, 9])], (64, 64), r"box pit \[60, 60, 69, 69\]"),
        ([(0, "rust", [1, 1, 9, 9])], (64, 64), "box rust"),
        ([(0, "pit", [1, 1, 9, 9])], (640, 640), "was drawn on at 640 x 640"),
    ],
)
def test_a_drawing_that_can_not_be_is_refused_and_nothing_is_taken(detecting, boxes, size_px, told):
    drawing(detecting, *boxes, size_px=size_px)
    detecting.fill(**{ids_of(detecting.sheet().parent)[1]: "normal"})
    with pytest.raises(UserError, match=told):
        take_sheets(detecting.run)
    assert taken(detecting) == {}


def test_a_sheet_that_contradicts_the_drawing_is_refused(detecting):
    drawing(detecting, (0, "scratch", [0, 0, 10, 5]))
    detecting.fill(**{ids_of(detecting.sheet().parent)[0]: "normal"})
    with pytest.raises(UserError, match="label normal with 1 boxes, none of them of it"):
        take_sheets(detecting.run)


def test_a_drawing_from_elsewhere_names_images_of_the_queue(detecting, tmp_path):
    path = drawing(detecting, (0, "scratch", [0, 0, 10, 5])).rename(tmp_path / "export.json")
    assert take_sheets(detecting.run, 1, path).queues == {"1": 1}
    path.write_text(path.read_text().replace(".png", ".jpg"))
    with pytest.raises(UserError, match="is not in this queue"):
        take_sheets(detecting.run, 1, path)
