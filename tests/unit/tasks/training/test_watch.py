import json
import time

import pytest

from tasks.training import watch as training_watch
from tasks.training.watch import read_records, watched


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch):
    monkeypatch.setattr(training_watch, "POLL_S", 0.01)


def line(epoch):
    return json.dumps({"epoch": epoch}) + "\n"


def test_each_epoch_is_told_once_while_it_runs_even_when_the_file_starts_anew(tmp_path):
    path, told = tmp_path / "history.ndjson", []
    with watched(path, lambda record: told.append(record["epoch"])):
        path.write_text(line(1) + line(2))
        deadline = time.monotonic() + 20
        while told != [1, 2] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert told == [1, 2]
        path.write_text(line(1))
        path.write_text(line(1) + line(2) + line(3))
    assert told == [1, 2, 3]


def test_half_written_line_waits_for_its_end(tmp_path):
    path = tmp_path / "history.ndjson"
    assert read_records(path) == []
    path.write_text(line(1) + '{"epoch": ')
    assert read_records(path) == [{"epoch": 1}]


def test_listeners_error_is_raised_on_leaving_but_never_hides_the_bodys_own(tmp_path):
    path = tmp_path / "history.ndjson"
    path.write_text(line(1))

    def fail(record):
        raise RuntimeError("tracker is down")

    with pytest.raises(RuntimeError, match="tracker is down"), watched(path, fail):
        pass
    with pytest.raises(ValueError, match="body"), watched(path, fail):
        raise ValueError("body")
