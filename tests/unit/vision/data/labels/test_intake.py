"""What people say of served images becomes labelled images, once each, whatever is said twice, late, wrongly or half."""

import hashlib
import json
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from uuid6 import uuid7

from tests.label_desk import png
from vision.data.boxes.geometry import Box
from vision.data.config import DataConfig, SplitConfig
from vision.data.labels import intake as label_intake
from vision.data.labels.intake import LabelPlaces, take_in
from vision.data.labels.store import read_labels
from vision.data.manifest import describe_files, list_images
from vision.data.sources import materialise
from vision.data.splits import assign, placements
from vision.lineage import sha256_json
from vision.records import Feedback, day_folder, day_number, feedback_line

LABELS = ("leaf", "moss")
START = datetime.now(UTC)


class Desk:
    """A system's folders, with what service and people write into them."""

    def __init__(self, root):
        self.root = root
        self.places = LabelPlaces(root / "feedback", root / "inbox", root / "queue", root / "labelled")
        self.words = 0

    def keep(self, data: bytes, suffix: str = ".png") -> str:
        """An image that a client asked to keep; returns its prediction's id."""
        made, folder = str(uuid7()), self.places.inbox / day_folder(day_number())
        folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(data).hexdigest() + suffix
        (folder / name).write_bytes(data)
        (folder / f"{made}.json").write_text(json.dumps({"id": made, "file": name, "client_hash": None}))
        return made

    def say(self, made: str, label: str, key_id: str | None = "k1", boxes: list | None = None) -> None:
        self.words += 1
        at = START + timedelta(seconds=self.words)
        word = Feedback(id=made, label=label, at=at, key_id=key_id, boxes=boxes)
        folder = self.places.feedback / day_folder(day_number())
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "host-1-a.ndjson").open("ab") as log:
            log.write(feedback_line(word))

    def take(self):
        return take_in(self.places, LABELS)

    def held(self) -> set[str]:
        return {"/".join(path.parts[-2:]) for path in (self.places.store / "images").rglob("*.*")}


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path / "system")


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_feedback_on_a_kept_image_becomes_a_labelled_image_with_who_said_it(desk):
    made = desk.keep(png(1))
    desk.say(made, "moss", "queue:3")
    found = desk.take()
    assert (found.images, found.new, found.refused) == (1, 1, {})
    assert desk.held() == {f"moss/{sha(png(1))}.png"}
    [row] = read_labels(desk.places.store)
    assert (row.id, row.label, row.key_id, row.sha256) == (made, "moss", "queue:3", sha(png(1)))
    assert (desk.places.store / row.file).read_bytes() == png(1)


def test_the_same_again_changes_nothing(desk):
    desk.say(desk.keep(png(1)), "moss")
    first = desk.take()
    table = (desk.places.store / "labels.csv").read_bytes()
    again = desk.take()
    assert (again.new, again.moved, again.sha) == (0, 0, first.sha)
    assert (desk.places.store / "labels.csv").read_bytes() == table


def test_a_label_that_changes_later_moves_the_image(desk):
    made = desk.keep(png(1))
    desk.say(made, "moss")
    first = desk.take()
    desk.say(made, "leaf")
    found = desk.take()
    assert (found.images, found.new, found.moved, found.conflicts) == (1, 0, 1, 0)
    assert desk.held() == {f"leaf/{sha(png(1))}.png"} and found.sha != first.sha


def test_two_labels_for_one_image_count_as_a_conflict_and_the_last_word_wins(desk):
    one, other = desk.keep(png(1)), desk.keep(png(1))
    desk.say(other, "moss")
    desk.say(one, "leaf")
    found = desk.take()
    assert (found.images, found.conflicts) == (1, 1)
    assert desk.held() == {f"leaf/{sha(png(1))}.png"}


def test_what_gives_no_image_is_refused_and_counted_by_reason(desk):
    desk.say(desk.keep(png(1)), "dandelion")
    desk.say(str(uuid7()), "moss")
    desk.say("../../etc/passwd", "moss")
    desk.say(desk.keep(png(2)[:200]), "moss")
    spoilt = desk.keep(png(3))
    (desk.places.inbox / day_folder(day_number()) / f"{sha(png(3))}.png").write_bytes(png(4))
    desk.say(spoilt, "moss")
    found = desk.take()
    assert found.refused == {"damaged_image": 2, "no_id": 1, "no_image": 1, "unknown_label": 1}
    assert (found.images, desk.held()) == (0, set())


def test_an_image_of_a_label_queue_needs_no_inbox(desk):
    made, folder = str(uuid7()), desk.places.queue / "1"
    (folder / "images").mkdir(parents=True)
    name = f"images/{sha(png(5))}.png"
    (folder / name).write_bytes(png(5))
    (folder / "queue.json").write_text(json.dumps({"items": [{"id": made, "file": name}]}))
    desk.say(made, "moss", "queue:1")
    assert desk.take().images == 1


def test_what_was_taken_stays_when_the_inbox_has_let_it_go_and_can_still_change_its_label(desk):
    made = desk.keep(png(1))
    desk.say(made, "moss")
    desk.take()
    for path in (desk.places.inbox / day_folder(day_number())).iterdir():
        path.unlink()
    assert desk.take().images == 1
    desk.say(made, "leaf")
    assert desk.take().moved == 1 and desk.held() == {f"leaf/{sha(png(1))}.png"}


def test_a_call_that_is_killed_half_way_is_mended_by_the_next(desk, monkeypatch):
    made = desk.keep(png(1))
    desk.say(made, "moss")
    desk.take()
    desk.say(made, "leaf")
    desk.say(desk.keep(png(2)), "leaf")

    def killed(*_):
        raise KeyboardInterrupt

    for step in ("write_labels", "_remove_others"):
        with monkeypatch.context() as patch:
            patch.setattr(label_intake, step, killed)
            with pytest.raises(KeyboardInterrupt):
                desk.take()
        assert all((desk.places.store / row.file).is_file() for row in read_labels(desk.places.store))
    found = desk.take()
    assert found.images == 2 and desk.held() == {f"leaf/{sha(png(seed))}.png" for seed in (1, 2)}


def test_without_feedback_nothing_is_made(desk):
    assert desk.take().images == 0 and not desk.root.exists()


@pytest.fixture
def shelf(tmp_path):
    """A source of two classes with twelve images each."""
    for start, label in ((100, "leaf"), (200, "moss")):
        (tmp_path / "shelf" / label).mkdir(parents=True)
        for number in range(12):
            (tmp_path / "shelf" / label / f"{number:02d}.png").write_bytes(png(start + number))
    return tmp_path / "shelf"


def version(shelf, desk, out, **fields):
    config = DataConfig.model_validate({"source": {"type": "folder", "path": str(shelf)}, **fields})
    return materialise(config, out, None, labelled=desk.places.store)


def test_labelled_images_join_the_source_and_old_ones_keep_their_split(shelf, desk, tmp_path):
    split = SplitConfig(train=0.5, val=0.25, test=0.25)
    version(shelf, desk, tmp_path / "out")
    before = assign(describe_files(tmp_path / "out", list_images(tmp_path / "out")), split)
    for seed in range(16):
        desk.say(desk.keep(png(seed)), LABELS[seed % 2])
    desk.take()
    made = version(shelf, desk, tmp_path / "out")
    assert (made.labelled, made.counts) == (16, {"leaf": 20, "moss": 20})
    after = assign(describe_files(tmp_path / "out", list_images(tmp_path / "out")), split, placements(before))
    both = pd.merge(before, after, on="path", suffixes=("", "_later"))
    assert len(both) == 24 and (both["split"] == both["split_later"]).all()
    grown = after["split"].value_counts() - before["split"].value_counts()
    assert grown["train"] > 0 and grown["test"] > 0
    assert list(after[~after["path"].isin(before["path"])]["path"].str.contains("/labelled-")) == [True] * 16


def test_an_image_that_the_source_has_is_not_added_twice_and_another_label_is_told(shelf, desk, tmp_path):
    desk.say(desk.keep(png(100)), "leaf")
    desk.say(desk.keep(png(101)), "moss")
    desk.take()
    made = version(shelf, desk, tmp_path / "out")
    assert (made.labelled, made.counts) == (0, {"leaf": 12, "moss": 12})
    assert made.conflicts == (("leaf/01.png", "leaf", "moss"),)


def test_a_class_that_only_people_have_labelled_is_taken_when_the_config_lists_it(shelf, desk, tmp_path):
    desk.say(desk.keep(png(1)), "fern")
    take_in(desk.places, ("leaf", "moss", "fern"))
    assert version(shelf, desk, tmp_path / "out").labels == LABELS
    made = version(shelf, desk, tmp_path / "out", classes=["leaf", "fern"])
    assert made.counts == {"leaf": 12, "fern": 1}


def test_boxes_come_along_and_the_last_words_count(desk):
    made, other = desk.keep(png(1)), desk.keep(png(2))
    desk.say(made, "leaf", boxes=[{"label": "leaf", "box": [1, 2, 3.5, 4]}])
    desk.say(other, "moss")
    first = desk.take()
    places = {row.label: row.places for row in read_labels(desk.places.store)}
    assert places == {"leaf": (Box("leaf", 1, 2, 3.5, 4),), "moss": None}
    desk.say(made, "leaf", boxes=[])
    second = desk.take()
    assert (first.moved, second.moved, second.images) == (0, 1, 2) and first.sha != second.sha
    assert {row.label: row.places for row in read_labels(desk.places.store)} == {"leaf": (), "moss": None}
    assert desk.take() == second.model_copy(update={"moved": 0})


def test_a_store_of_before_there_were_boxes_is_read_and_keeps_its_hash(desk):
    made = desk.keep(png(1))
    desk.say(made, "leaf")
    sha, table = desk.take().sha, desk.places.store / "labels.csv"
    rows = [line.rpartition(",")[0] for line in table.read_text().splitlines()]
    table.write_text("\n".join(rows) + "\n")
    assert [row.places for row in read_labels(desk.places.store)] == [None]
    assert desk.take().sha == sha == sha256_json([(hashlib.sha256(png(1)).hexdigest(), "leaf")])
