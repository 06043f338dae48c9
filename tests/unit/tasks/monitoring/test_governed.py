"""An event may come twice, or be lost: either way one training is made."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from threading import Barrier
from types import SimpleNamespace

import pytest
from filelock import FileLock

import flows.train_model
import tasks.monitoring.request_training
from configs.retraining import RetrainingConfig
from tasks.monitoring.governed import governed
from tasks.monitoring.governor import RESEND_S, Governor
from tasks.monitoring.request_training import send_requests
from tasks.run import open_run

NOW = datetime.now(UTC)
WINDOW = "window-1-abc"


def later(seconds):
    return NOW + timedelta(seconds=seconds)


@pytest.fixture
def governor(tmp_path):
    return Governor(f"sqlite:///{tmp_path / 'state.db'}", "leaf", RetrainingConfig())


@pytest.fixture
def granted(governor):
    return governor.ask("drift", WINDOW, NOW).request_no


@pytest.mark.parametrize("passes", [True, False])
def test_of_runs_that_one_events_copies_start_at_once_one_trains(governor, granted, tmp_path, passes):
    start, made = Barrier(4), []

    def run(_):
        start.wait()
        with FileLock(tmp_path / "training.lock"), governed(governor, "drift", WINDOW, 0) as training:
            made.append(training.before)
            if passes and not training.before:
                training.passed()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(run, range(4)))
    assert made.count(None) == 1 and sum("its event came again" in (why or "") for why in made) == 3
    assert [(one.no, one.state) for one in governor.requests()] == [(granted, "ended" if passes else "rejected")]


def test_an_event_that_comes_again_after_its_training_broke_off_makes_it_anew(governor, granted):
    with pytest.raises(RuntimeError), governed(governor, "drift", WINDOW, 0):
        raise RuntimeError("the disk is full")
    with governed(governor, "drift", WINDOW, 0) as training:
        assert training.before is None


@pytest.mark.parametrize("window", [None, "by-hand"])
def test_a_person_may_train_as_often_as_they_like(governor, window):
    for _ in range(2):
        with governed(governor, "manual", window, 0) as training:
            assert training.before is None
            training.passed()


def test_an_event_that_nobody_acted_upon_is_to_be_sent_once_more(governor, granted):
    governor.sent(granted, NOW)
    assert governor.to_send_again(later(RESEND_S - 60)) == []
    assert [one.no for one in governor.to_send_again(later(RESEND_S + 60))] == [granted]
    governor.sent(granted, later(RESEND_S + 60))
    [request] = governor.requests()
    assert governor.to_send_again(later(2 * RESEND_S)) == [] and "sent again" in request.why
    assert request.lease_until < NOW.timestamp() + 12.1 * 3600, "others don't wait longer for that"


def test_a_training_that_has_begun_is_not_asked_for_again(governor, granted):
    governor.sent(granted, NOW)
    governor.started("drift", WINDOW, 0, later(60))
    assert governor.to_send_again(later(RESEND_S + 60)) == []


def test_of_two_requests_one_whose_event_can_not_be_sent_keeps_the_other_from_nothing(tmp_path, monkeypatch):
    """As the monitor does at its end, and again in its next run."""
    config = SimpleNamespace(system="leaf", retraining=RetrainingConfig(cool_down_h=0))
    run = SimpleNamespace(config=config, database_url=f"sqlite:///{tmp_path / 'state.db'}")
    governor, out, broken = Governor(run.database_url, "leaf", config.retraining), [], [True]
    governor.ask("drift", "window-1", NOW - timedelta(hours=13))  # Its lease is over.
    first = governor.ask("drift", "window-2", NOW).request_no

    def send(request):
        if broken:
            raise ConnectionError(broken.pop())
        out.append(request.no)

    monkeypatch.setattr(tasks.monitoring.request_training, "has_server", lambda: True)
    monkeypatch.setattr(tasks.monitoring.request_training, "send_request", send)
    for wanted in ([], [first], [first]):
        send_requests.fn(run)
        assert out == wanted


def test_the_flow_of_an_event_that_came_twice_ends_as_known_and_makes_nothing(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("VISIONOPS_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(flows.train_model, "ray_session", nullcontext)
    run = open_run(tiny(), {}, "drift", WINDOW)
    governor = Governor(run.database_url, "tiny", run.config.retraining)
    governor.ask("drift", WINDOW, NOW)
    governor.ended(governor.started("drift", WINDOW, 0, NOW), NOW)
    state = flows.train_model.train_model.fn(tiny(), None, "drift", WINDOW)
    assert (state.name, state.type.value) == ("Known", "COMPLETED") and WINDOW in state.message
    assert not run.stages.exists() and len(governor.requests()) == 1
