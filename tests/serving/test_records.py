"""What the service writes down of each answer, and what a broken disk does: a metric and an alarm, never to an answer."""

import errno
import json
import logging
import os
import stat
import time
from datetime import UTC, datetime

import pytest
from uuid6 import uuid7

from bentos.hooks import Client
from bentos.metrics.names import create
from bentos.records import ALARM_S, Recorder, client_salt
from configs.keeping import KeepingConfig
from configs.paths import StatePaths
from vision.data.features import FEATURES, describe
from vision.records import Record, day_folder, day_number
from vision.records_find import find_record
from vision.records_read import read_records

CLIENT = Client("k1", "0123456789abcdef", frozenset({"predict", "keep"}))


@pytest.fixture
def metrics():
    from prometheus_client import CollectorRegistry

    return create(CollectorRegistry())


@pytest.fixture
def recorder(tmp_path, metrics):
    made = Recorder(StatePaths(tmp_path), "tiny", KeepingConfig(), metrics)
    yield made
    made.close()


def fields(**changes) -> dict:
    return {
        "id": str(uuid7()),
        "at": datetime.now(UTC),
        "package_sha": "a" * 64,
        "model_version": 1,
        "release_no": 0,
        "route": "champion",
        "pair_id": None,
        "client_hash": None,
        "batch_size": 1,
        "queue_ms": 0.1,
        "compute_ms": 1.0,
        "features": dict.fromkeys(FEATURES, 0.5),
        "embedding": [0.25] * 32,
        "answer": {"label": "moss"},
        "confidence": 0.9,
        "confident": True,
        **changes,
    }


def test_every_answer_is_on_disk_before_it_leaves_and_holds_no_pixel(worker, draw):
    data = draw("moss", 31)
    answer = worker.client.post("/predict", files={"file": data}).json()
    record = Record.model_validate(find_record(worker.system / "records", answer["prediction_id"]))
    assert record.answer["label"] == answer["label"] == "moss"
    assert (record.confidence, record.confident) == (answer["confidence"], answer["confident"])
    assert (record.package_sha, record.model_version) == (answer["model"]["package_sha"], answer["model"]["version"])
    assert (record.release_no, record.route, record.batch_size) == (0, "champion", 1)
    assert len(record.embedding) == 32
    expected = describe(data)
    assert record.features == pytest.approx({name: expected[name] for name in FEATURES}, rel=6e-4, abs=1e-9)
    assert len(json.dumps(record.model_dump(mode="json"))) < len(data)


def test_a_refused_image_leaves_no_record(worker):
    before = len(read_records(worker.system / "records")[0])
    assert worker.client.post("/predict", files={"file": b"no image"}).status_code == 415
    assert len(read_records(worker.system / "records")[0]) == before


def test_a_full_disk_costs_the_record_and_an_alarm_and_it_recovers_by_itself(recorder, metrics, monkeypatch, caplog):
    write, disk = os.write, {"full": True}

    def limited(fd, data):
        if disk["full"] and data.startswith(b'{"schema"'):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data)

    monkeypatch.setattr(os, "write", limited)
    with caplog.at_level(logging.WARNING, "bentos.records"):
        assert [recorder.append(fields()) for _ in range(50)] == [False] * 50
        assert (recorder.losses, metrics.records_lost.labels("records")._value.get()) == (50, 50)
        disk["full"] = False
        assert recorder.append(fields()) is True
    assert recorder.losses == 0
    said = [record.message for record in caplog.records]
    assert len(said) == 2  # One alarm for fifty losses, and the end of it.
    assert "No space left" in said[0] and "50 lines were lost" in said[1]
    assert len(read_records(recorder.folder)[0]) == 1


def test_alarms_are_at_most_one_a_minute(recorder, monkeypatch, caplog):
    clock = [1000.0]
    monkeypatch.setattr("bentos.records.time.monotonic", lambda: clock[0])
    recorder.folder.parent.mkdir(parents=True)
    recorder.folder.write_text("a file where the folder belongs")
    with caplog.at_level(logging.ERROR, "bentos.records"):
        for second in range(100):
            clock[0] = 1000.0 + 2 * second
            assert recorder.append(fields()) is False
    assert len(caplog.records) == 1 + int(198 // ALARM_S)


def test_answers_go_on_while_records_can_not_be_written_and_health_says_so(worker, draw):
    folder = worker.system / "records"
    away = folder.with_name("records-away")
    assert worker.client.post("/predict", files={"file": draw("moss", 2)}).status_code == 200
    worker.client.portal.call(worker.books.recorder._records.close)
    folder.rename(away)
    folder.write_text("a file where the folder belongs")
    assert worker.client.post("/predict", files={"file": draw("moss", 1)}).status_code == 200
    health = worker.client.get("/health").json()
    assert (health["status"], health["records_lost"]) == ("degraded", 1)
    folder.unlink()
    away.rename(folder)
    assert worker.client.post("/predict", files={"file": draw("moss", 1)}).status_code == 200
    assert worker.client.get("/health").json()["status"] == "ok"


@pytest.mark.parametrize("change", [{"embedding": ["x"]}, {"features": None}, {"answer": {1, 2, object()}}])
def test_a_record_that_can_not_be_made_is_counted_and_never_raised(recorder, change):
    assert recorder.append(fields(**change)) is False
    assert recorder.losses == 1


def test_a_second_after_it_was_written_a_record_is_synced(recorder, metrics):
    recorder.append(fields())
    recorder._records.sync()
    lag_s = metrics.record_lag_seconds.labels("records")._value.get()
    assert 0 < lag_s < 5
    recorder._records.sync()
    assert metrics.record_lag_seconds.labels("records")._value.get() == 0


def test_lines_that_a_disk_does_not_take_for_long_show_as_lag(recorder, metrics, monkeypatch):
    """Also while the sync hangs: then no thread of its own could say so."""
    lag = metrics.record_lag_seconds.labels("records")._value
    monkeypatch.setattr("bentos.records.LATE_S", 0.05)

    def broken(_):
        time.sleep(0.1)
        recorder.append(fields())
        raise OSError(errno.EIO, "Input/output error")

    recorder.append(fields())
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        recorder._records.sync()
        first_s = lag.get()
        recorder._records.sync()
    assert 0.1 <= first_s < lag.get()
    recorder._records.sync()
    recorder._records.sync()
    assert lag.get() == 0


def test_old_days_of_records_feedback_and_inbox_go_each_after_its_own_time(tmp_path, metrics):
    paths, today = StatePaths(tmp_path), day_number()
    keeping = KeepingConfig(records_days=10, feedback_days=20, inbox_days=5)
    folders = (paths.records("tiny"), paths.feedback("tiny"), paths.inbox("tiny"))
    for folder in folders:
        for age in (0, 5, 6, 10, 11, 20, 21):
            (folder / day_folder(today - age)).mkdir(parents=True)
    Recorder(paths, "tiny", keeping, metrics)._try_to_sweep()
    left = [sorted(today - age for age in (0, 5, 6, 10, 11, 20, 21) if (folder / day_folder(today - age)).exists())
            for folder in folders]  # fmt: skip
    assert [today - min(days) for days in left] == [10, 20, 5]


def test_all_workers_hash_clients_with_one_secret_that_only_the_owner_reads(tmp_path):
    salts = {client_salt(tmp_path / "records") for _ in range(3)}
    assert len(salts) == 1
    assert len(salts.pop()) == 32
    assert stat.S_IMODE((tmp_path / "records" / ".salt").stat().st_mode) == 0o600
    (tmp_path / "file").write_text("")
    assert len(client_salt(tmp_path / "file")) == 32
