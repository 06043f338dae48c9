"""A prediction that was served, run again from its image: equal, or by how much it differs."""

import hashlib
import json
import shutil

import pytest
from uuid6 import uuid7

from configs.paths import StatePaths
from flows.command import AGAINST, DONE, MISTAKE
from flows.replay_prediction import main
from vision.records import day_folder, day_number, record_line
from vision.records_find import find_record
from vision.records_log import LineLog


@pytest.fixture
def served(worker, draw, tmp_path, monkeypatch):
    """(id, image file) of a real answer of the tiny package."""
    monkeypatch.setenv("VISIONOPS_STATE", str(worker.state))
    image = tmp_path / "moss.jpg"
    image.write_bytes(draw("moss", 1))
    made = worker.client.post("/predict", files={"file": image.read_bytes()}).json()["prediction_id"]
    return made, image


def test_the_same_image_gives_the_same_answer(served, capsys):
    made, image = served
    assert main([made, str(image)]) == DONE
    said = capsys.readouterr().out
    assert (
        "answered by openvino in " in said and "12 features equal those on record" in said and said.endswith("equal\n")
    )


def test_another_image_is_told_from_the_one_that_was_sent(served, draw, capsys):
    made, image = served
    image.write_bytes(draw("slate", 5))
    assert main([made, str(image)]) == AGAINST
    said = capsys.readouterr().out
    assert "another image: " in said and "answer: DIFFERS: moss" in said and said.endswith("differs\n")


def test_a_kept_image_is_known_by_its_content(worker, served, draw, capsys):
    made, image = served
    inbox = StatePaths(worker.state).inbox("quickstart") / day_folder(day_number())
    inbox.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(image.read_bytes()).hexdigest() + ".jpg"
    shutil.copy(image, inbox / name)
    (inbox / f"{made}.json").write_text(json.dumps({"id": made, "file": name}))
    assert main([made, str(image)]) == DONE
    assert "the image that was kept" in capsys.readouterr().out
    image.write_bytes(image.read_bytes() + b"\0")
    assert main([made, str(image)]) == AGAINST
    assert "not the image that was kept" in capsys.readouterr().out


def test_a_record_whose_numbers_were_changed_differs_by_so_much(worker, served, capsys):
    made, image = served
    record = find_record(StatePaths(worker.state).records("quickstart"), made)
    embedding = [number + 50 for number in record["embedding"]]
    changed = str(uuid7())
    log = LineLog(StatePaths(worker.state).records("quickstart"))
    log.append(record_line({**record, "id": changed, "embedding": embedding}))
    log.close()
    assert main([changed, str(image)]) == AGAINST
    assert "embedding: DIFFERS" in capsys.readouterr().out


def test_what_can_not_be_replayed_is_told(served, tmp_path, capsys):
    made, image = served
    assert main([str(uuid7()), str(image)]) == MISTAKE
    assert main(["no-id", str(image)]) == MISTAKE
    assert main([made, str(tmp_path / "missing.jpg")]) == MISTAKE
    image.write_bytes(b"no image")
    assert main([made, str(image)]) == MISTAKE
    said = capsys.readouterr().err
    assert "no record of prediction" in said and "is no prediction id" in said and "unknown_format" in said


def test_a_package_that_was_changed_since_is_refused(worker, served, tmp_path, capsys, monkeypatch):
    made, image = served
    shutil.copytree(worker.state, tmp_path / "state")
    monkeypatch.setenv("VISIONOPS_STATE", str(tmp_path / "state"))
    [lineage] = (tmp_path / "state").glob("systems/*/packages/*/lineage.json")
    lineage.write_text(json.dumps({"data": "invented"}))
    assert main([made, str(image)]) == 1
    assert "has changed since it was sealed" in capsys.readouterr().err
