"""Records: what a line holds, how it survives, how it is read while written, sealed and let go."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from uuid6 import uuid7

from vision.data.features import FEATURES
from vision.records import (
    Feedback,
    Record,
    client_hash,
    day_folder,
    feedback_line,
    folder_day,
    made_at_ms,
    record_line,
)
from vision.records_find import find_record
from vision.records_log import LineLog
from vision.records_read import Watermark, read_feedback, read_records

PROJECT = Path(__file__).resolve().parents[3]
AT = "2026-11-21T04:55:52.123Z"


def fields(**changes) -> dict:
    random = np.random.default_rng(0)
    return {
        "id": str(uuid7()),
        "at": AT,
        "package_sha": "a" * 64,
        "model_version": 3,
        "release_no": 4,
        "route": "champion",
        "pair_id": None,
        "client_hash": "0123456789abcdef",
        "batch_size": 8,
        "queue_ms": 1.23456789,
        "compute_ms": 12.3456789,
        "features": {name: 0.123456789 * index for index, name in enumerate(FEATURES)},
        "embedding": random.normal(0, 3, 32).astype(np.float32),
        "answer": {"label": "moss", "predictions": [{"label": "moss", "probability": 0.991234}] * 3},
        "confidence": 0.991234,
        "confident": True,
        **changes,
    }


def written(folder: Path, count: int, **changes) -> list[str]:
    log, ids = LineLog(folder), []
    for _ in range(count):
        row = fields(**changes)
        log.append(record_line(row))
        ids.append(row["id"])
    log.close()
    return ids


def log_file(folder: Path) -> Path:
    [path] = folder.rglob("*.ndjson")
    return path


def test_a_line_is_a_record_with_four_significant_digits():
    row = fields(embedding=np.array([1234.567, -0.000123456, 0.0, 9999.96], np.float32))
    record = Record.model_validate_json(record_line(row))
    assert record.embedding == (1235.0, -0.0001235, 0.0, 10000.0)
    assert record.features["height_px"] == 0.1235
    assert (record.queue_ms, record.compute_ms) == (1.235, 12.346)
    assert record.answer == row["answer"]
    assert len(record_line(fields())) < 1200


def test_rounding_is_within_its_promise_at_every_scale():
    values = np.random.default_rng(1).normal(size=500) * 10.0 ** np.random.default_rng(2).integers(-12, 12, 500)
    kept = json.loads(record_line(fields(embedding=values)))["embedding"]
    assert np.all(np.abs(np.array(kept) - values) <= 0.0005001 * np.abs(values))


def test_a_number_that_is_not_finite_becomes_null_and_the_line_stays_json():
    line = record_line(fields(features={"noise": float("nan"), "aspect": float("inf")}))
    assert json.loads(line)["features"] == {"noise": None, "aspect": None}
    assert None not in json.loads(line)["embedding"]


def test_an_id_names_its_day_and_other_texts_are_refused():
    # uuid6 runs ahead of the clock where more than one a millisecond are made, as tests do that draw records.
    assert abs(made_at_ms(str(uuid7())) / 1000 - time.time()) < 600
    for text in ("", "x", "../../etc", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", str(uuid7()).upper(), f"{{{uuid7()}}}"):
        with pytest.raises(ValueError):
            made_at_ms(text)


def test_days_are_folders_and_back():
    assert day_folder(0) == "dt=1970-01-01"
    assert folder_day(day_folder(20_000)) == 20_000
    assert folder_day("2026-01-01") is folder_day("dt=now") is folder_day("dt=") is None


def test_clients_are_told_apart_without_saying_who_they_are():
    salt = b"s" * 32
    assert client_hash("203.0.113.7", salt) == client_hash("203.0.113.7", salt)
    assert client_hash("203.0.113.7", salt) != client_hash("203.0.113.8", salt)
    assert client_hash("203.0.113.7", salt) != client_hash("203.0.113.7", b"t" * 32)


def test_a_reader_goes_on_where_it_was_and_leaves_a_torn_line(tmp_path):
    log = LineLog(tmp_path)
    log.append(record_line(fields()))
    first, mark = read_records(tmp_path)
    log.append(record_line(fields(model_version=4)))
    with log_file(tmp_path).open("ab") as file:
        file.write(record_line(fields(model_version=5))[:200])
    second, mark = read_records(tmp_path, mark)
    third, _ = read_records(tmp_path, mark)
    log.close()
    assert (first["model_version"].tolist(), second["model_version"].tolist(), len(third)) == ([3], [4], 0)
    with log_file(tmp_path).open("ab") as file:
        file.write(record_line(fields(model_version=5))[200:])


def test_a_table_has_the_columns_of_the_reference(tmp_path):
    written(tmp_path, 3)
    table, _ = read_records(tmp_path)
    assert set(FEATURES) <= set(table.columns)
    assert [f"e{index}" for index in range(32)] == [name for name in table if name[:1] == "e" and name[1:].isdigit()]
    row = table.iloc[0]
    assert (row["answer_label"], row["answer_confidence"], bool(row["answer_confident"])) == ("moss", 0.991234, True)
    assert json.loads(row["answer"])["predictions"][0]["label"] == "moss"
    assert str(table["at"].dtype) == "datetime64[ns, UTC]"


def test_a_line_that_is_no_json_is_counted_and_left_out(tmp_path):
    written(tmp_path, 2)
    with log_file(tmp_path).open("ab") as file:
        file.write(b"\x00\x00\n[1]\n" + record_line(fields()))
    table, mark = read_records(tmp_path)
    assert (len(table), table.attrs["unreadable"]) == (3, 2)
    assert len(read_records(tmp_path, mark)[0]) == 0


def test_no_folder_has_no_records(tmp_path):
    table, mark = read_records(tmp_path / "none")
    assert (len(table), mark) == (0, Watermark())
    assert len(read_feedback(tmp_path / "none")) == 0
    assert find_record(tmp_path / "none", str(uuid7())) is None


def test_feedback_said_twice_counts_as_the_last_and_both_stay(tmp_path):
    log = LineLog(tmp_path)
    first, second = str(uuid7()), str(uuid7())
    for number, (made, label) in enumerate(((first, "moss"), (second, "slate"), (first, "amber"))):
        at = f"2026-11-21T04:00:0{number}Z"
        log.append(feedback_line(Feedback(id=made, label=label, at=at, key_id="k1")))
    log.close()
    assert dict(read_feedback(tmp_path)[["id", "label"]].values) == {first: "amber", second: "slate"}
    assert log_file(tmp_path).read_text().count("\n") == 3
