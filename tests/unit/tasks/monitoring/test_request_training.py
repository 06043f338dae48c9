"""Who makes a granted training where no Prefect server is; which labels count as new, and what they ask for."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

import tasks.monitoring.request_training
from configs.retraining import RetrainingConfig
from tasks.monitoring.governed import governed
from tasks.monitoring.request_training import NewLabels, act_on, act_on_labels, count_labels, governor_of, left_to_train
from tasks.monitoring.state import WindowVerdict
from vision.data.labels.intake import Labelled
from vision.monitoring.diagnosis import Diagnosis


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(tasks.monitoring.request_training, "has_server", lambda: False)
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
    monkeypatch.setattr(tasks.monitoring.request_training, "has_server", lambda: True)
    assert numbers(run) == []


@pytest.fixture
def store(monkeypatch):
    """The store of labelled images, as `collect_labels` finds it."""

    def holds(images, sha):
        monkeypatch.setattr(
            tasks.monitoring.request_training, "collect_labels", lambda _: Labelled(images=images, new=0, sha=sha)
        )

    return holds


def ask(run):
    return act_on_labels.fn(run, count_labels.fn(run))


def train(run, labels, passed):
    """What was granted last, or a training by hand."""
    granted = [request for request in governor_of(run).requests() if request.state == "granted"]
    with governed(governor_of(run), "new_labels", granted[-1].window if granted else None, labels) as training:
        if passed:
            training.passed()


def test_only_a_training_that_passed_takes_labels(run, store):
    store(60, "a" * 64)
    train(run, 60, passed=False)
    assert count_labels.fn(run).count == 60
    train(run, 60, passed=True)
    assert count_labels.fn(run).count == 0
    store(75, "b" * 64)
    assert count_labels.fn(run).count == 15


def test_labels_of_a_training_that_did_not_pass_ask_again_once_there_are_others_beside_them(run, store, monkeypatch):
    store(60, "a" * 64)
    assert "training 1 granted" in ask(run)
    train(run, 60, passed=False)

    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(hours=25)

    store(61, "b" * 64)
    assert "not granted: cool-down" in ask(run)
    monkeypatch.setattr(tasks.monitoring.request_training, "datetime", Later)
    store(60, "a" * 64)
    for _ in range(3):
        assert "not granted" in (said := ask(run)) and "did not pass" in said
    store(61, "b" * 64)
    assert "granted: within" in ask(run)
    assert [request.state for request in governor_of(run).requests()] == ["rejected", "granted"]


@pytest.fixture
def told(monkeypatch):
    """What people are told."""
    lines = []
    monkeypatch.setattr(
        tasks.monitoring.request_training, "alert", lambda _run, title, reasons: lines.extend([title, *reasons])
    )
    return lines


def alarm(run, **diagnosis):
    """A window with a fault as its headline."""
    causes = ("pipeline_fault", diagnosis.pop("behind"))
    found = Diagnosis(
        cause=causes[0], causes=causes, evidence=(), action="mend the camera", reasons=tuple(f"{one}: …" for one in causes),
        labels=60, **diagnosis,
    )  # fmt: skip
    verdict = WindowVerdict.model_construct(
        no=7, name="window-7-abc", alarm=True, changed=True, changed_windows=2, windows_asked=3, diagnosis=found
    )
    return act_on.fn(run, verdict, NewLabels(count=60, sha="a" * 64))


def test_behind_a_fault_the_cause_that_asks_is_the_reason_of_the_training(run, told):
    verdict = alarm(
        run, behind="accuracy_drop", retrain=True, retrain_for="accuracy_drop", training="asked for: labels say so"
    )
    [request] = governor_of(run).requests()
    assert verdict.request.granted and request.window == "window-7-abc"
    assert request.reason.startswith("accuracy_drop in window 7: 60 newly labelled images")
    assert "accuracy_drop: …" in told and "training asked for: labels say so" in told


def test_what_a_fault_hides_is_told_and_asks_for_nothing(run, told):
    verdict = alarm(run, behind="covariate_shift", retrain=False, training="not asked for in spite of covariate shift")
    assert verdict.request is None and governor_of(run).requests() == []
    assert "covariate_shift: …" in told and "training not asked for in spite of covariate shift" in told
