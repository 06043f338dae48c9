"""From served images to a queue with a page, and from a filled sheet back to labelled images."""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from uuid6 import uuid7

from tasks.data import label_queue
from tasks.data.label_queue import make_queue
from tasks.data.queue_labels import take_sheets
from tasks.run import open_run
from tests.label_desk import LABELS, Served, ids_of, png
from vision.errors import UserError
from vision.records import Feedback, feedback_line
from vision.records_log import LineLog
from vision.records_read import read_feedback


@pytest.fixture
def served(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("VISIONOPS_STATE", str(tmp_path / "state"))
    source = {"type": "drawn", "images_per_class": 16, "side_px": 64}
    path = tiny(data={"source": source, "classes": LABELS}, label_queue={"budget": 3})
    return Served(open_run(path, {}))


def test_a_queue_holds_the_images_worth_a_label_with_why_and_a_page_that_needs_no_server(served):
    unsure = served.answer(png(1), 0.55)
    served.answer(png(2), 0.99)
    disputed = served.answer(png(3), 0.95, "healthy", other="late_blight")
    made = make_queue(served.run)
    folder = served.sheet().parent
    assert (made.no, made.images) == (1, 2) and ids_of(folder) == [disputed, unsure]
    with served.sheet().open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["why"].split(":")[0] for row in rows] == ["disagreement", "low confidence"]
    assert all((folder / row["file"]).is_file() and row["label"] == "" for row in rows)
    page = (folder / "index.html").read_text()
    assert all(row["file"] in page for row in rows) and "http" not in page


def test_an_image_is_asked_for_once_and_the_budget_counts_those_that_wait(served):
    for seed in range(5):
        served.answer(png(seed), 0.5)
    assert make_queue(served.run).images == 3
    full = make_queue(served.run)
    assert full.no is None and "3 images still wait" in full.why
    served.fill(**dict.fromkeys(ids_of(served.sheet().parent), "healthy"))
    take_sheets(served.run)
    assert make_queue(served.run).images == 2
    shown = {item for no in (1, 2) for item in ids_of(served.sheet(no).parent)}
    assert len(shown) == 5


def test_a_filled_sheet_makes_room_before_it_is_taken_in_and_a_damaged_one_does_not(served):
    for seed in range(5):
        served.answer(png(seed), 0.5)
    make_queue(served.run)
    first, *_ = ids_of(served.sheet().parent)
    served.fill(**{first: "no such label"})
    assert make_queue(served.run).images == 1
    served.sheet().write_bytes(b"id,label\n\0")
    assert "4 images still wait" in make_queue(served.run).why


def test_an_image_that_leaves_the_inbox_meanwhile_is_passed_over(served, monkeypatch):
    made = [served.answer(png(seed), 0.5) for seed in range(3)]
    real = label_queue._placed

    def swept(run):
        (served.inbox / json.loads((served.inbox / f"{made[0]}.json").read_text())["file"]).unlink(missing_ok=True)
        return real(run)

    monkeypatch.setattr(label_queue, "_placed", swept)
    found = make_queue(served.run)
    assert found.images == 2 and found.passed_over["shows_nothing"] == 1


def test_an_image_that_was_labelled_otherwise_waits_no_longer(served):
    made = served.answer(png(1), 0.5)
    make_queue(served.run)
    assert label_queue.waiting_images(served.run, served.run.state.queue("tiny")) == 1
    log = LineLog(served.run.state.feedback("tiny"))
    log.append(feedback_line(Feedback(id=made, label="healthy", at=datetime.now(UTC), key_id="app")))
    log.close()
    assert label_queue.waiting_images(served.run, served.run.state.queue("tiny")) == 0


def test_the_same_picture_again_is_no_new_work(served):
    for _ in range(3):
        served.answer(png(1), 0.5)
    assert make_queue(served.run).images == 1


def test_an_empty_inbox_makes_no_queue_and_says_why(served):
    made = make_queue(served.run)
    assert made.no is None and "keep=true" in made.text and list(served.run.state.queue("tiny").glob("[0-9]*")) == []


def test_a_filled_sheet_becomes_feedback_and_labelled_images_once(served):
    made = served.answer(png(1), 0.5)
    make_queue(served.run)
    served.fill(**{made: "late_blight"})
    assert take_sheets(served.run, 1).queues == {"1": 1}
    [word] = read_feedback(served.run.state.feedback("tiny")).to_dict("records")
    assert (word["id"], word["label"], word["key_id"]) == (made, "late_blight", "queue:1")
    labelled = served.run.state.labelled("tiny") / "images" / "late_blight"
    assert [path.read_bytes() for path in labelled.iterdir()] == [png(1)]
    assert take_sheets(served.run).queues == {"1": 0}
    assert sum(path.read_bytes().count(b"\n") for path in served.run.state.feedback("tiny").rglob("*.ndjson")) == 1


def test_a_label_that_is_corrected_later_is_taken_again(served):
    made = served.answer(png(1), 0.5)
    make_queue(served.run)
    for label in ("late_blight", "healthy"):
        served.fill(**{made: label})
        take_sheets(served.run)
    images = (served.run.state.labelled("tiny") / "images").glob("*/*.png")
    assert [path.parent.name for path in images] == ["healthy"]


def test_what_nobody_can_tell_is_not_asked_again_and_not_trained_on(served):
    made = served.answer(png(1), 0.5)
    make_queue(served.run)
    served.fill(**{made: "skip"})
    assert take_sheets(served.run).queues == {"1": 1}
    assert read_feedback(served.run.state.feedback("tiny")).empty
    assert make_queue(served.run).no is None


def test_wrong_lines_are_named_and_nothing_of_the_sheet_is_taken(served):
    one, other = served.answer(png(1), 0.5), served.answer(png(2), 0.5)
    make_queue(served.run)
    served.fill(**{one: "healthy", other: "dandelion"})
    with served.sheet().open("a") as file:
        file.write(f"{uuid7()},x,x,0.5,x,healthy\n")
    with pytest.raises(UserError) as error:
        take_sheets(served.run)
    assert "label 'dandelion'" in error.value.got and "line 4" in error.value.got
    assert "is not in this queue" in error.value.got and "late_blight" in error.value.allowed
    assert read_feedback(served.run.state.feedback("tiny")).empty


@pytest.mark.parametrize("text", ["", "who,what\n1,2\n", None])
def test_a_file_that_is_no_sheet_is_told(served, tmp_path, text):
    served.answer(png(1), 0.5)
    make_queue(served.run)
    if text is not None:
        (tmp_path / "mine.csv").write_text(text)
    with pytest.raises(UserError):
        take_sheets(served.run, 1, tmp_path / "mine.csv")


def test_a_sheet_from_a_spreadsheet_with_semicolons_and_a_byte_order_mark_is_read(served, tmp_path):
    made = served.answer(png(1), 0.5)
    make_queue(served.run)
    (tmp_path / "mine.csv").write_text(f"id;label\n{made};healthy\n", encoding="utf-8-sig")
    assert take_sheets(served.run, 1, tmp_path / "mine.csv").queues == {"1": 1}


def test_a_queue_that_is_not_there_is_told(served):
    with pytest.raises(UserError, match="no label queue 7"):
        take_sheets(served.run, 7)


def test_a_queue_that_is_killed_half_way_has_no_number_and_the_next_one_is_whole(served, monkeypatch):
    served.answer(png(1), 0.5)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        for place, step in ((label_queue, "write_page"), (Path, "rename")):
            patch.setattr(place, step, killed)
            with pytest.raises(KeyboardInterrupt):
                make_queue(served.run)
            patch.undo()
    assert list(served.run.state.queue("tiny").glob("[0-9]*")) == []
    assert make_queue(served.run).no == 1
    assert [path.name for path in served.run.state.queue("tiny").iterdir() if path.is_dir()] == ["1"]
