"""What goes wrong while served answers are watched: kills, clocks, damaged files, services that are away, odd records."""

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from disks import locked
from state_folder import EarlierClock, flip

import tasks.monitoring.request_training
import tasks.services
from flows.command import DONE, FAULT
from tests.drawn_records import draw_rows, write_package
from tests.monitor_stage import DARK, QUICK, MonitorStage
from tests.release_stage import own_state

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]
ROOT = Path(__file__).resolve().parents[2]
DEAD = "http://127.0.0.1:9"
AT_ONCE = {"alarm_windows": 1, "of_windows": 1}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Error rates of the drawn package, which every test has: measured by the first that asks."""
    return tmp_path_factory.mktemp("measured") / "error_rates"


@pytest.fixture
def stage(tmp_path, tiny, monkeypatch, measured):
    """A released model, no record yet. One drifted window is an alarm."""
    own_state(monkeypatch, tmp_path / "state")
    system = tiny(**{**QUICK, "monitor": {**QUICK["monitor"], **AT_ONCE}})
    made = MonitorStage(tmp_path / "state", system).released()
    rates = made.monitor_folder / "error_rates"
    if measured.is_dir():
        shutil.copytree(measured, rates)
    yield made
    if rates.is_dir() and not measured.is_dir():
        shutil.copytree(rates, measured)


@pytest.fixture
def run(stage, capfd, caplog):
    """Exit code, what was printed, and the one message of an error."""

    def monitor(*pairs):
        capfd.readouterr()
        code = stage.monitor(*pairs)
        out, err = capfd.readouterr()
        assert "Traceback" not in err, err
        return code, out, err.partition("error: ")[2].strip()

    return monitor


def line(text, *words):
    """The line of `text` that holds all words."""
    return next(one.strip() for one in text.splitlines() if all(word in one for word in words))


def untouched(stage):
    """Nothing of the window counts yet: the next run judges the same records."""
    assert stage.mark().window == 0 and stage.requests() == []
    return "the watermark did not move; the next run judges the same records"


def test_no_records_wait(stage, run, fault):
    code, out, _ = run()
    assert code == DONE and stage.mark().window == 0
    fault.saw(
        "Monitor", "no records yet", exit=code, says=line(out, "waiting"), kept="the status says that the monitor ran"
    )


def test_no_model_waits(tmp_path, tiny, monkeypatch, capfd, fault):
    own_state(monkeypatch, tmp_path / "state")
    code = MonitorStage(tmp_path / "state", tiny()).monitor()
    fault.saw(
        "Monitor", "no model yet", exit=code, says=line(capfd.readouterr().out, "waiting"), kept="nothing is judged"
    )


def test_records_of_two_models_in_one_window(stage, run, fault):
    other = write_package(stage.folder, draw_rows(50, seed=5), version=2)
    stage.served.write(110)
    stage.served.write(40, DARK, model=other)
    code, out, _ = run()
    verdict = stage.verdict(1)
    assert (
        code == DONE
        and (verdict.records, verdict.changed) == (110, False)
        and verdict.others == {other.package_sha: 40}
    )
    fault.saw(
        "Monitor", "records of two models in one window", exit=code, says=line(out, "records", "left out"),
        kept="the champion's are judged, the others counted in the verdict",
    )  # fmt: skip


def test_a_class_that_the_reference_never_saw(stage, run, fault):
    stage.served.write(120, labels=("amber", "moss", "rust", "ash"))
    code, out, _ = run()
    [test] = [test for test in stage.verdict(1).drift.tests if test.name == "answer_label"]
    assert code == DONE and test.drifted and "never in the reference: ash" in test.note
    fault.saw(
        "Monitor", "answers of a class that the reference never had", exit=code, says=line(out, "ALARM"),
        kept="the page names the class beside its test",
    )  # fmt: skip


def test_a_reference_that_is_missing_or_damaged(stage, run, fault):
    stage.served.write(110)
    path = stage.folder / stage.model.uri / "reference.parquet"
    data = path.read_bytes()
    flip(path)
    code, _, err = run()
    fault.saw("Monitor", "the champion's reference is damaged", exit=code, says=err, kept=untouched(stage))
    path.unlink()
    code, _, err = run()
    fault.saw("Monitor", "the champion's reference is missing", exit=code, says=err, kept=untouched(stage))
    path.write_bytes(data)
    assert run()[0] == DONE and stage.verdict(1).records == 110


def test_a_clock_that_goes_back_grants_no_second_training(stage, run, fault, monkeypatch):
    stage.served.write(110, DARK)
    assert run()[0] == DONE
    monkeypatch.setattr(tasks.monitoring.request_training, "datetime", EarlierClock)
    for _ in range(2):
        stage.served.write(110, DARK)
        code, out, _ = run("retraining.lease_h=0.000001")
    assert code == DONE and [request.state for request in stage.requests()] == ["sent", "refused", "refused"]
    fault.saw(
        "Monitor", "the clock went back after a training was granted", exit=code, says=line(out, "not granted"),
        kept="one grant; a training by hand sets the time anew",
    )  # fmt: skip


def test_the_registry_is_away(stage, run, fault, monkeypatch, caplog):
    monkeypatch.setenv("VISIONOPS_MLFLOW_URI", DEAD)
    stage.served.write(110)
    with caplog.at_level(logging.WARNING):
        code, _, _ = run()
    assert code == DONE and stage.mark().window == 1
    fault.saw(
        "Monitor", "the registry is away", exit=code, says=line(caplog.text, "not in MLflow").partition(": ")[2] or caplog.text,
        kept="the window is judged all the same; its page lies in the state folder",
    )  # fmt: skip


def test_state_db_is_locked(stage, run, fault, monkeypatch):
    monkeypatch.setattr(tasks.services, "LOCK_S", 0.2)
    stage.served.write(110, DARK)
    run("monitor.min_window=5000")
    with locked(stage.state / "state.db"):
        code, _, err = run()
    assert code == FAULT
    fault.saw("Monitor", "state.db is locked by another process", exit=code, says=err, kept=untouched(stage))
    assert run()[0] == DONE and stage.verdict(1).alarm


def test_the_webhook_is_away(stage, run, fault, monkeypatch, caplog):
    monkeypatch.setenv("VISIONOPS_ALERT_WEBHOOK", f"{DEAD}/secret-path")
    stage.served.write(110, DARK)
    with caplog.at_level(logging.WARNING):
        code, out, _ = run()
    assert code == DONE and "secret-path" not in caplog.text + out and stage.requests()[0].state == "sent"
    said = line(caplog.text, "could not be delivered").partition("the alert")[2]
    fault.saw(
        "Monitor", "the webhook is away at an alarm", exit=code, says=f"the alert{said}", kept="alarm and request stand"
    )


def test_a_workers_records_are_torn_at_the_end(stage, run, fault):
    path, _ = stage.served.write(110)
    path.write_bytes(path.read_bytes()[:-40])
    code, out, err = run()
    assert code == DONE and stage.verdict(1).records == 109, err
    fault.saw(
        "Monitor", "the last record of a killed worker is torn", exit=code, says=line(out, "records"),
        kept="the whole ones are judged; what is torn was never answered",
    )  # fmt: skip


def test_the_watermark_is_damaged(stage, run, fault):
    stage.served.write(110)
    stage.monitor_folder.mkdir(exist_ok=True)
    (stage.monitor_folder / "watermark.json").write_text("{")
    code, _, err = run()
    assert code == FAULT and not (stage.monitor_folder / "windows").exists()
    fault.saw("Monitor", "the watermark's file is damaged", exit=code, says=err, kept="nothing is judged twice unasked")


def test_a_killed_monitor_goes_on_with_the_same_rows_and_one_training(stage, fault, tmp_path):
    from killed_monitor import POINTS
    from prefect.settings import PREFECT_API_URL

    stage.served.write(120, DARK)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    env = {
        **clean,
        "PREFECT_API_URL": PREFECT_API_URL.value(),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, Path(__file__).with_name("killed_monitor.py"), stage.system, stage.state]
    done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=ROOT, timeout=300)
    starts = [json.loads(row) for row in done.stdout.splitlines() if row.startswith("{")]
    assert [one["ended"] for one in starts] == ["SIGKILL"] * len(POINTS) + [DONE], done.stdout + done.stderr[-4000:]
    assert all(one["rows"] == starts[0]["rows"] for one in starts), "the same window has the same rows"
    assert stage.verdict(1).records == 120 and stage.mark().window == 1
    [request] = stage.requests()
    assert request.state == "sent"
    fault.saw(
        "Monitor",
        f"killed at {len(POINTS)} points of a window, with new records after each",
        exit="–",
        says="the next run says the same of the same 120 records",
        kept="each record judged once, one training asked for; its event may come twice, under one id",
    )
