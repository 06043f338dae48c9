"""Images that a client asked to keep: which, where, how many, and what a full or broken disk does to them."""

import errno
import json
import stat

import pytest
from prometheus_client import CollectorRegistry
from uuid6 import uuid7

from bentos.hooks import Asked, Client
from bentos.inbox import Inbox
from bentos.metrics.names import create
from vision.records import day_folder, day_number

CLIENT = Client("k1", "0123456789abcdef", frozenset({"predict", "keep"}))


@pytest.fixture
def metrics():
    return create(CollectorRegistry())


def kept(worker) -> list[str]:
    return sorted(path.name for path in worker.system.glob("inbox/dt=*/*"))


def test_an_image_is_kept_only_when_asked_under_its_own_hash_with_a_note(worker, draw):
    data = draw("slate", 77, "PNG")
    first = worker.client.portal.call(worker.predictor.predict, data, Asked(client=CLIENT, keep=False))
    assert kept(worker) == [] and "kept" not in first
    first = worker.client.portal.call(worker.predictor.predict, data, Asked(client=CLIENT, keep=True))
    second = worker.client.portal.call(worker.predictor.predict, data, Asked(client=CLIENT, keep=True))
    assert (first["kept"], second["kept"]) == (True, True)
    notes = [f"{answer['prediction_id']}.json" for answer in (first, second)]
    [image] = [name for name in kept(worker) if name not in notes]
    assert image.endswith(".png") and set(notes) < set(kept(worker))
    folder = worker.system / "inbox" / day_folder(day_number())
    assert (folder / image).read_bytes() == data
    assert stat.S_IMODE((folder / image).stat().st_mode) & 0o007 == 0
    note = json.loads((folder / notes[0]).read_text())
    assert (note["id"], note["file"], note["client_hash"]) == (first["prediction_id"], image, CLIENT.client_hash)
    assert worker.value("kept_images_total", result="kept") == 2


def test_keep_without_the_scope_is_refused_and_keeps_nothing(worker, draw):
    before = kept(worker)
    response = worker.client.post("/predict?keep=true", files={"file": draw("moss", 5)})
    assert response.status_code == 403
    assert "keep" in response.json()["error"]["allowed"]
    assert kept(worker) == before


def test_an_inbox_that_can_not_be_written_says_so_and_raises_nothing(tmp_path, metrics, draw):
    (tmp_path / "inbox").write_text("a file")
    assert Inbox(tmp_path / "inbox", 10**6, metrics).keep(draw("moss", 1), str(uuid7()), None) is False
    assert metrics.kept_images.labels("lost")._value.get() == 1


def test_a_full_day_keeps_no_more_images_and_answers_go_out(tmp_path, worker, metrics, draw, monkeypatch, caplog):
    images = [draw("moss", seed) for seed in range(4)]
    limit = sum(map(len, images[:2])) + 1000
    monkeypatch.setattr(worker.predictor, "keeper", Inbox(tmp_path / "inbox", limit, metrics))
    answers = [
        worker.client.portal.call(worker.predictor.predict, data, Asked(client=CLIENT, keep=True)) for data in images
    ]
    assert [(answer["label"], answer["kept"]) for answer in answers] == [("moss", True)] * 2 + [("moss", False)] * 2
    counted = {result: metrics.kept_images.labels(result)._value.get() for result in ("kept", "full", "lost")}
    assert counted == {"kept": 2, "full": 2, "lost": 0}
    assert sum(path.stat().st_size for path in tmp_path.glob("inbox/dt=*/*")) <= limit
    assert caplog.text.count("is full for") == 1


def test_workers_share_the_room_of_a_day_and_the_next_day_has_its_own(tmp_path, metrics, draw, monkeypatch):
    data, limit = draw("moss", 1), len(draw("moss", 1)) + 1000
    first, second = (Inbox(tmp_path / "inbox", limit, metrics) for _ in range(2))
    assert first.keep(data, str(uuid7()), None) is True
    assert second.keep(draw("moss", 2), str(uuid7()), None) is False
    assert second.keep(data, str(uuid7()), None) is True, "the same content takes no room but its note"
    (tmp_path / "inbox" / ".size").unlink()
    assert second.keep(draw("moss", 2), str(uuid7()), None) is False, "counted again from what lies there"
    monkeypatch.setattr("bentos.inbox.day_number", lambda: day_number() + 1)
    assert second.keep(draw("moss", 2), str(uuid7()), None) is True


def test_what_could_not_be_written_takes_no_room(tmp_path, metrics, draw, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    inbox = Inbox(tmp_path / "inbox", len(draw("moss", 1)) + 1000, metrics)
    with monkeypatch.context() as patch:
        patch.setattr("bentos.inbox._write", full)
        assert [inbox.keep(draw("moss", seed), str(uuid7()), None) for seed in range(5)] == [False] * 5
    assert inbox.keep(draw("moss", 1), str(uuid7()), None) is True
