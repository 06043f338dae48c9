"""One training at a time, not too often, never two for one alarm; whatever the clock and the processes do."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from configs.retraining import RetrainingConfig
from tasks.monitoring.governed import governed
from tasks.monitoring.governor import Governor

ROOT = Path(__file__).parents[4]
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ASK = """
import sys
from datetime import UTC, datetime
from configs.retraining import RetrainingConfig
from tasks.monitoring.governor import Governor
url, window = sys.argv[1:]
sys.stdin.readline()
print(int(Governor(url, "leaf", RetrainingConfig()).ask("drift", window, datetime.now(UTC)).granted))
"""


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'state.db'}"


@pytest.fixture
def make(url):
    return lambda **values: Governor(url, "leaf", RetrainingConfig(**values))


def hours(number):
    return NOW + timedelta(hours=number)


def train(governor, window, start, end, state="ended"):
    assert governor.ask("drift", window, start).granted
    no = governor.started("drift", window, 0, start)
    governor.ended(no, end, state)


def states(governor):
    return [request.state for request in governor.requests()]


def test_ten_threads_that_ask_at_once_get_one_grant(make):
    governor = make()
    with ThreadPoolExecutor(10) as pool:
        decisions = list(pool.map(lambda number: governor.ask("drift", f"window-{number}", NOW), range(10)))
    assert sum(decision.granted for decision in decisions) == 1
    assert sorted(states(governor)) == ["granted", *["refused"] * 9]
    assert all("is granted" in decision.why for decision in decisions if not decision.granted)


def test_ten_processes_that_ask_at_once_get_one_grant(url, make):
    children = [
        subprocess.Popen([sys.executable, "-c", ASK, url, f"window-{number}"], cwd=ROOT, text=True,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for number in range(10)
    ]  # fmt: skip
    answers = []
    for child in children:
        child.stdin.write("now\n")
        child.stdin.flush()
    for child in children:
        answers.append(child.communicate(timeout=60)[0].strip())
    assert sorted(answers) == ["0"] * 9 + ["1"] and sorted(states(make())) == ["granted", *["refused"] * 9]


def test_the_same_window_asked_again_after_a_kill_gets_the_same_answer(make):
    governor = make()
    first, other = governor.ask("drift", "window-1", NOW), governor.ask("drift", "window-2", NOW)
    assert first.granted and not other.granted
    assert governor.ask("drift", "window-1", hours(1)) == first
    assert governor.ask("drift", "window-2", hours(2)) == other
    assert states(governor) == ["granted", "refused"]


def test_a_refused_or_failed_window_is_weighed_anew_when_it_is_asked_for_again(make):
    governor = make(cool_down_h=1)
    train(governor, "labels-a", NOW, NOW, state="failed")
    assert not governor.ask("labels", "labels-a", hours(0.5)).granted
    assert governor.ask("labels", "labels-a", hours(1.1)).granted
    assert states(governor) == ["failed", "granted"]


@pytest.mark.parametrize("begun", [False, True])
def test_labels_whose_training_was_not_heard_of_in_its_lease_are_asked_for_again(make, begun):
    """The same labels ask in every run of the monitor: an event that was lost, or a killed training, must not end that."""
    governor = make(lease_h=12, cool_down_h=1)
    no = governor.ask("new_labels", "labels-a", NOW).request_no
    governor.sent(no, NOW)
    if begun:
        governor.started("new_labels", "labels-a", 60, NOW)
    assert governor.ask("new_labels", "labels-a", hours(11)).request_no == no
    assert "cool-down" in governor.ask("new_labels", "labels-a", hours(12.5)).why
    again = governor.ask("new_labels", "labels-a", hours(13.1))
    assert again.granted and [request.no for request in governor.to_send(hours(13.1))] == [again.request_no]
    assert states(governor) == ["lost", "granted"]


def test_a_training_that_begins_again_has_no_end_of_before(make):
    governor = make()
    train(governor, "window-1", NOW, hours(1), state="failed")
    governor.started("drift", "window-1", 0, hours(2))
    assert governor.requests()[0].ended_at is None


def test_a_cool_down_counts_from_the_end_of_the_last_training(make):
    governor = make(cool_down_h=24)
    train(governor, "window-1", NOW, hours(5))
    assert governor.ask("drift", "window-2", hours(28)).why == "cool-down: 1.0 h left of 24 h"
    assert governor.ask("drift", "window-3", hours(29.1)).granted


def test_a_training_that_failed_cools_down_as_well(make):
    governor = make(cool_down_h=24)
    train(governor, "window-1", NOW, hours(1), state="failed")
    assert not governor.ask("drift", "window-2", hours(2)).granted


def test_a_budget_bounds_the_trainings_of_some_days(make):
    governor = make(cool_down_h=0, budget=2, budget_days=7)
    train(governor, "window-1", NOW, hours(1))
    train(governor, "window-2", hours(2), hours(3))
    assert governor.ask("drift", "window-3", hours(4)).why == "budget: 2 of 2 automatic trainings in 7 days"
    assert governor.ask("drift", "window-4", hours(7 * 24 + 1)).granted
    assert not make(budget=0).ask("drift", "window-5", hours(9999)).granted


def test_a_clock_that_goes_back_does_not_grant_twice(make):
    governor = make(cool_down_h=24, budget=1, budget_days=7)
    train(governor, "window-1", hours(100), hours(101))
    for back in (99, 0, -1000):
        refused = governor.ask("drift", f"window-at-{back}", hours(back))
        assert not refused.granted and "cool-down: 24.0 h left" in refused.why and "behind" in refused.why


def test_after_a_clock_that_was_ahead_a_training_by_hand_is_the_way_out(make):
    governor = make(cool_down_h=24, lease_h=1, budget=9)
    train(governor, "window-1", hours(10_000), hours(10_001))
    assert not governor.ask("drift", "window-2", NOW).granted
    governor.ended(governor.started("manual", None, 0, NOW), NOW)
    assert "cool-down: 24.0 h left" in governor.ask("drift", "window-3", NOW).why
    assert governor.ask("drift", "window-4", hours(24.1)).granted


@pytest.mark.parametrize("begun", [True, False])
def test_then_neither_the_budget_nor_a_lease_counts_in_the_time_that_never_was(make, begun):
    governor = make(cool_down_h=24, budget=1, budget_days=7, lease_h=12)
    no = governor.ask("drift", "window-1", hours(10_000)).request_no
    if begun:
        governor.ended(governor.started("drift", "window-1", 0, hours(10_000)), hours(10_001))
    governor.ended(governor.started("manual", None, 0, NOW), NOW)
    assert governor.requests()[no - 1].lease_until <= hours(13).timestamp()
    assert "budget" in governor.ask("drift", "window-2", hours(40)).why
    assert governor.ask("drift", "window-3", hours(7 * 24 + 1)).granted


def test_a_grant_that_nobody_took_up_is_free_again_after_its_lease(make):
    governor = make(lease_h=12, cool_down_h=1)
    assert governor.ask("drift", "window-1", NOW).granted
    assert not governor.ask("drift", "window-2", hours(11.9)).granted
    assert "cool-down" in governor.ask("drift", "window-3", hours(12.5)).why
    assert governor.ask("drift", "window-4", hours(13.1)).granted


def test_signs_of_life_hold_the_lease(make):
    governor = make(lease_h=12)
    governor.ask("drift", "window-1", NOW)
    no = governor.started("drift", "window-1", 0, NOW)
    governor.renew(no, hours(11))
    assert "is training" in governor.ask("drift", "window-2", hours(20)).why


def test_a_training_by_hand_is_never_refused_and_holds_off_the_others(make):
    governor = make(budget=0)
    no = governor.started("manual", None, 7, NOW)
    assert make().ask("drift", "window-1", NOW).why == f"training {no} (by hand) is training"
    governor.ended(no, NOW)
    assert governor.requests()[0].labels == 7
    assert make().ask("drift", "window-2", NOW).granted, "it is not an automatic one: no cool-down, no budget"


def test_what_a_killed_training_left_is_found_dead_by_the_next(make):
    governor = make()
    governor.started("manual", None, 0, NOW)
    governor.started("manual", None, 0, hours(1))
    assert states(governor) == ["lost", "training"]


def test_a_request_is_sent_once_and_a_kill_before_that_leaves_it_to_send(make):
    governor = make()
    no = governor.ask("drift", "window-1", NOW).request_no
    assert [request.no for request in governor.to_send(NOW)] == [no]
    governor.sent(no, NOW)
    assert governor.to_send(NOW) == []
    governor.started("drift", "window-1", 0, NOW)
    governor.sent(no, NOW)
    assert states(governor) == ["training"], "an event that arrives late takes nothing back"


def test_a_training_counts_as_passed_only_once_it_says_so(make):
    governor = make()
    with governed(governor, "manual", None, 60):
        pass
    with governed(governor, "manual", None, 60) as training:
        training.passed()
    assert states(governor) == ["rejected", "ended"]


def test_the_same_labels_are_not_tried_again_after_they_gave_no_model_that_passed(make):
    governor = make(cool_down_h=24)
    train(governor, "labels-a", NOW, hours(1), state="rejected")
    for later in (2, 26, 9999):
        again = governor.ask("new_labels", "labels-a", hours(later))
        assert not again.granted and "labels-a has been trained for by training 1" in again.why
    assert states(governor) == ["rejected"], "asking each quarter of an hour leaves no rows"


def test_other_labels_are_tried_after_the_cool_down(make):
    governor = make(cool_down_h=24)
    train(governor, "labels-a", NOW, hours(1), state="rejected")
    assert "cool-down" in governor.ask("new_labels", "labels-b", hours(2)).why
    assert governor.ask("new_labels", "labels-b", hours(26)).granted


def test_a_training_that_raises_is_written_down_as_failed(make):
    governor = make()
    with pytest.raises(RuntimeError), governed(governor, "manual", None, 0):
        assert states(governor) == ["training"]
        raise RuntimeError
    assert states(governor) == ["failed"]


def test_switched_off_it_grants_nothing_and_systems_do_not_wait_for_each_other(url, make):
    assert make(enabled=False).ask("drift", "window-1", NOW).why == "retraining.enabled is false"
    assert make().ask("drift", "window-2", NOW).granted
    assert Governor(url, "other", RetrainingConfig()).ask("drift", "window-2", NOW).granted
