"""The governor's table: what fits into it, what it forgets, and who makes it."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import create_engine
from sqlalchemy.event import listen, remove

import tasks.monitoring.governor
from configs.retraining import RetrainingConfig
from tasks.monitoring.governor import Governor
from tasks.monitoring.training_requests import METADATA

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'state.db'}"


@pytest.fixture
def make(url):
    return lambda **values: Governor(url, "leaf", RetrainingConfig(**values))


def hours(number):
    return NOW + timedelta(hours=number)


def train(governor, window, at):
    assert governor.ask("drift", window, at).granted
    governor.ended(governor.started("drift", window, 0, at), at)


def test_a_name_longer_than_its_column_is_cut_and_still_known_again(make):
    governor, long = make(), "window-" + "x" * 500
    first = governor.ask("drift" * 1000, long, NOW)
    [request] = governor.requests()
    assert len(request.window) == 128 and len(request.reason) == 1000
    assert governor.ask("drift", long, hours(1)) == first
    assert governor.started("drift", long, 0, hours(1)) == first.request_no
    assert not governor.ask("drift", long + "y", hours(1)).granted, "another window, though it begins alike"


def test_the_table_forgets_what_is_long_over_and_keeps_what_is_counted(make):
    governor = make(cool_down_h=0, budget=2, budget_days=1)
    governor.ended(governor.started("manual", None, 7, NOW), NOW)
    for day in range(8):
        train(governor, f"window-{day}", hours(24 * day))
        governor.started("manual", None, 0, hours(24 * day))
        governor.ask("drift", f"refused-{day}", hours(24 * day))
    refused = [request.window for request in governor.requests() if request.state == "refused"]
    assert refused == [f"refused-{day}" for day in (3, 4, 5, 6, 7)]


def test_what_was_refused_long_ago_is_granted_as_a_request_of_its_own(make):
    governor = make(cool_down_h=0, budget=1, budget_days=1)
    train(governor, "window-1", NOW)
    assert not governor.ask("new_labels", "labels-a", NOW).granted
    granted = governor.ask("new_labels", "labels-a", hours(24 * 30))
    assert granted.granted and [request.no for request in governor.to_send(hours(24 * 30))] == [granted.request_no]


def test_a_clock_that_was_far_ahead_makes_it_forget_no_grant(make):
    governor = make(cool_down_h=24, budget=1, budget_days=7)
    train(governor, "window-1", NOW)
    governor.ask("drift", "window-2", hours(24 * 4000))
    assert [request.window for request in governor.requests()] == ["window-1", "window-2"]


def test_labels_that_were_taken_stay_taken_however_long_ago(make, monkeypatch):
    monkeypatch.setattr(tasks.monitoring.governor, "MADE", 3)
    governor = make(budget=0, budget_days=0.01, cool_down_h=0)
    governor.ended(governor.started("manual", None, 70, NOW), NOW)
    for number in range(9):
        governor.ended(governor.started("manual", None, 0, hours(number)), hours(number), "failed")
    known = governor.requests()
    assert (known[0].state, known[0].labels) == ("ended", 70) and len(known) == 1 + 3 + 1


def test_who_finds_a_table_just_made_by_another_goes_on(url, make):
    """Between the look and the making, as two processes do that begin at once."""
    other, made = create_engine(url), []

    def first(*_, **__):
        if not made:
            made.append(True)
            METADATA.create_all(other, checkfirst=False)

    listen(METADATA, "before_create", first)
    try:
        assert make().ask("drift", "window-1", NOW).granted and made
    finally:
        remove(METADATA, "before_create", first)
        other.dispose()
