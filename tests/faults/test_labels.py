"""Labels as people give them: wrong, twice, of images that nobody kept, or while the machine dies."""

import os
import signal
import subprocess
import sys
import time

import pytest
from image_folders import take
from odd_images import write_class
from served_images import keep, keep_bytes, places, say
from uuid6 import uuid7

from flows.command import DONE, MISTAKE, guarded
from tasks.data.ingest import told_conflicts
from tasks.data.labels import told_labels
from vision.data.config import DataConfig
from vision.data.labels.intake import take_in
from vision.data.labels.sheet import QueueItem, read_sheet, write_sheet
from vision.data.labels.store import read_labels
from vision.data.sources import materialise
from vision.records import day_folder, day_number

LABELS = ("leaf", "moss")
MANY = 300
KILLED = """
import sys
from pathlib import Path
from vision.data.labels.intake import LabelPlaces, take_in
root = Path(sys.argv[1])
take_in(LabelPlaces(root / "feedback", root / "inbox", root / "queue", root / "labelled"), ("leaf", "moss"))
"""


@pytest.fixture
def folders(tmp_path):
    return places(tmp_path / "system")


def test_a_sheet_with_wrong_lines(tmp_path, capsys, fault):
    items = [
        QueueItem(id=f"id{number}", file=f"images/{number}.png", sha256="0", phash="0", guess="leaf", confidence=0.5,
                  ranking="low confidence", why="margin 0.1")
        for number in range(3)
    ]  # fmt: skip
    write_sheet(tmp_path / "labels.csv", items)
    lines = (tmp_path / "labels.csv").read_text().splitlines()
    lines = [lines[0], lines[1] + "leaf", lines[2] + "lief", lines[3].replace("id2", "id9") + "moss"]
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    ids = {item.id for item in items}
    code = guarded(lambda: read_sheet(tmp_path / "labels.csv", ids, LABELS) and DONE)
    said = capsys.readouterr().err.partition("error: ")[2]
    assert code == MISTAKE and "line 3: label 'lief'" in said and "line 4: id 'id9'" in said
    fault.saw("Monitor", "a label sheet with wrong lines", exit=code, says=said, kept="no label of the sheet is taken")


def test_a_file_that_is_no_sheet(tmp_path, capsys, fault):
    for given, data in (
        ("with a NUL byte", b"id,label\nid0,leaf\nid1,le\0af\n"),
        ("with a field of 200 kB", b"id,label\nid0," + b"x" * 200_000 + b"\n"),
        ("saved as a workbook (.xlsx)", b"PK\x03\x04\x14\x00"),
    ):
        (tmp_path / "labels.csv").write_bytes(data)
        code = guarded(lambda: read_sheet(tmp_path / "labels.csv", {"id0", "id1"}, LABELS) and DONE)
        said = capsys.readouterr().err.partition("error: ")[2]
        assert code == MISTAKE and "Traceback" not in said and "CSV UTF-8" in said
        fault.saw("Monitor", f"a label sheet {given}", exit=code, says=said, kept="no label of the sheet is taken")


def test_words_that_give_no_image(folders, fault):
    say(folders, keep(folders, 1), "leaf")
    say(folders, keep(folders, 2), "dandelion")
    say(folders, str(uuid7()), "moss")
    torn = keep(folders, 3)
    [*_, image] = sorted(
        (folders.inbox / day_folder(day_number())).glob("*.png"), key=lambda path: path.stat().st_mtime_ns
    )
    image.write_bytes(image.read_bytes()[:100])
    say(folders, torn, "moss")
    found = take_in(folders, LABELS)
    assert found.images == 1 and found.refused == {"damaged_image": 1, "no_image": 1, "unknown_label": 1}
    kept = "the sound image is labelled; the words stay in the feedback log"
    fault.saw("Monitor", "labels of images that were not kept, are torn or have no such class", exit=DONE,
              says=told_labels(found), kept=kept)  # fmt: skip


def test_one_image_called_two_things(folders, fault):
    say(folders, keep(folders, 1), "leaf", 1)
    say(folders, keep(folders, 1), "moss", 2)
    found = take_in(folders, LABELS)
    assert [row.label for row in read_labels(folders.store)] == ["moss"] and found.conflicts == 1
    fault.saw("Monitor", "two people label one image differently", exit=DONE, says=told_labels(found),
              kept="the last word; both stay in the feedback log")  # fmt: skip


def test_people_call_an_image_of_the_source_something_else(folders, tmp_path, fault):
    for start, label in ((0, "leaf"), (100, "moss")):
        write_class(tmp_path / "shelf" / label, 4, start)
    take(tmp_path / "shelf", tmp_path / "out")
    source = DataConfig.model_validate({"source": {"type": "folder", "path": str(tmp_path / "shelf")}})
    image = next((tmp_path / "shelf" / "leaf").iterdir())
    say(folders, keep_bytes(folders, image.read_bytes(), image.suffix), "moss")
    take_in(folders, LABELS)
    found = materialise(source, tmp_path / "out", None, labelled=folders.store)
    assert found.labelled == 0 and found.counts == {"leaf": 4, "moss": 4}
    fault.saw("Monitor", "a label that contradicts the source", exit=DONE, says=told_conflicts(found.conflicts),
              kept="the source's label; the image is not added a second time")  # fmt: skip


def test_a_machine_that_dies_while_labels_are_taken_in(folders, tmp_path, fault):
    for number in range(MANY):
        say(folders, keep(folders, number), LABELS[number % 2], number)
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path / "system")])
    images = folders.store / "images"
    until = time.monotonic() + 20
    while time.monotonic() < until and len(list(images.glob("*/*.png"))) < MANY // 4:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    half = len(list(images.glob("*/*.png")))
    assert MANY // 4 <= half < MANY and read_labels(folders.store) == []
    found = take_in(folders, LABELS)
    held = {path.relative_to(folders.store).as_posix() for path in images.glob("*/*")}
    assert found.images == MANY and held == {row.file for row in read_labels(folders.store)}
    assert not list(images.glob("*/.*"))
    fault.saw("Monitor", "killed while labels are taken in", exit="–", says="",
              kept="the table names no image that is not there; the next run takes in the rest")  # fmt: skip
