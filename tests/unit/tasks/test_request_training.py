"""Who makes a granted training where no Prefect server is."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

import tasks.request_training
from configs.retraining import RetrainingConfig
from tasks.request_training import governor_of, left_to_train


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(tasks.request_training, "has_server", lambda: False)
    config = SimpleNamespace(system="leaf", retraining=RetrainingConfig())
    return SimpleNamespace(config=config, folder=tmp_path, database_url=f"sqlite:///{tmp_path / 'state.db'}")


def numbers(run):
    with left_to_train(run) as requests:
        return [request.no for request in requests]


def test_of_two_monitors_at_once_one_trains_and_what_it_does_not_begin_is_left_for_the_next(run):
    no = governor_of(run).ask("drift", "window-1", datetime.now(UTC)).request_no
    with left_to_train(run) as requests:
        assert [request.no for request in requests] == [no]
        assert numbers(run) == [], "the first one waits for Ray or for another training"
    assert numbers(run) == [no], "the first one was stopped before it began"
    governor_of(run).started("drift", "window-1", 0, datetime.now(UTC))
    assert numbers(run) == []


def test_with_a_server_nobody_trains_in_its_own_process(run, monkeypatch):
    governor_of(run).ask("drift", "window-1", datetime.now(UTC))
    monkeypatch.setattr(tasks.request_training, "has_server", lambda: True)
    assert numbers(run) == []
