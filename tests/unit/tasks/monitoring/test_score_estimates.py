"""What was estimated without labels is held against labels that come later, and kept."""

from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bentos.metrics.names import METRICS
from configs.monitoring import MonitorConfig
from tasks.monitoring.drift_figures import scores_table
from tasks.monitoring.end import waiting
from tasks.monitoring.judge_window import judge_window
from tasks.monitoring.score_estimates import score_estimates
from tasks.monitoring.state import Mark, MonitorFolder, status_of
from tasks.monitoring.windows import finish_window, read_window
from tests.drawn_records import LABELS, Served, draw_rows, release, release_next, write_package
from vision.records import Feedback, day_folder, day_number, feedback_line
from vision.records_seal import seal_closed
from vision.release import read_release


@pytest.fixture
def run(tmp_path, monkeypatch):
    monitor = MonitorConfig(min_window=100, permutations=199, alpha=0.01, null_windows=20, min_labels=50)
    monkeypatch.setattr(
        "tasks.monitoring.judge_window.measured_error_rates",
        lambda *_: SimpleNamespace(false_alarms=None, detectable=()),
    )
    names = ("records", "feedback")
    state = SimpleNamespace(**{name: lambda _, name=name: tmp_path / name for name in names})
    config = SimpleNamespace(system="tiny", title="Tiny", monitor=monitor)
    return SimpleNamespace(
        folder=tmp_path, release_file=tmp_path / "release.json", packages=tmp_path / "packages", state=state, config=config
    )  # fmt: skip


@pytest.fixture
def rows(run):
    """Of a window that was judged before anyone said a word."""
    served = Served(run.folder, release(run.folder, write_package(run.folder, draw_rows(250))))
    _, rows = served.write(200)
    window = read_window.fn(run)
    verdict = judge_window.fn(run, window)
    MonitorFolder(run).write_verdict(verdict)
    finish_window(run, window)
    return rows


def say(run, rows, right=0.9):
    """Labels of these rows, so many of which say that the answer was right."""
    folder = run.folder / "feedback" / day_folder(day_number())
    folder.mkdir(parents=True, exist_ok=True)
    hits = np.arange(len(rows)) < right * len(rows)
    with (folder / "app.ndjson").open("ab") as file:
        for hit, (name, answer) in zip(hits, rows[["id", "answer_label"]].itertuples(index=False), strict=True):
            label = answer if hit else LABELS[(LABELS.index(answer) + 1) % 3]
            file.write(feedback_line(Feedback(id=name, label=label, at=datetime.now(UTC), key_id="app")))


def test_with_too_few_labels_nothing_is_said(run, rows):
    say(run, rows[:49])
    assert score_estimates.fn(run) == () and MonitorFolder(run).scores(9) == []


def test_labels_that_came_later_score_the_estimate_of_their_window_once_and_it_is_kept(run, rows):
    say(run, rows[:60])
    [line] = score_estimates.fn(run)
    [kept] = MonitorFolder(run).scores(9)
    estimate = MonitorFolder(run).verdict(1).diagnosis.estimate
    assert (kept.no, kept.scored.estimate, kept.scored.score.labels) == (1, estimate, 60)
    assert kept.scored.score.error == pytest.approx(estimate.value - kept.scored.labelled.value)
    assert kept.scored.score.covered and "60 labels say" in line
    assert score_estimates.fn(run) == (), "nothing was said since"


def test_an_estimate_that_was_wrong_is_found_out_and_stands_in_the_status_and_on_the_page(run, rows):
    say(run, rows[:100], right=0.4)
    score_estimates.fn(run)
    [kept] = MonitorFolder(run).scores(9)
    assert kept.scored.score.error > 0.3 and not kept.scored.score.covered
    waiting(run, read_window.fn(run))
    assert MonitorFolder(run).status()["estimate_error"] == pytest.approx(kept.scored.score.error)
    table = scores_table(MonitorFolder(run).scores(9))
    assert table.rows[0][-3] == "100" and table.rows[0][-1] == "no" and "In 0 of 1 windows" in table.note


def test_every_number_of_the_monitor_that_metrics_shows_is_one_that_it_writes(run, rows):
    say(run, rows[:60])
    score_estimates.fn(run)
    folder = MonitorFolder(run)
    folder.write_status(status_of(folder.verdict(1)))
    shown = {metric.read[1] for metric in METRICS if metric.read and metric.read[0] == "monitor"}
    assert shown <= set(folder.status())


def test_more_labels_score_it_again(run, rows):
    say(run, rows[:60])
    score_estimates.fn(run)
    say(run, rows[60:120])
    assert len(score_estimates.fn(run)) == 1
    assert MonitorFolder(run).scores(9)[0].scored.score.labels == 120


def test_words_about_other_models_answers_of_the_same_time_are_no_score(run, rows):
    ids = sorted(rows["id"])
    others = pd.DataFrame({"id": [f"{ids[0]}-{n}" for n in range(60)], "answer_label": LABELS[0]})
    say(run, others)
    assert score_estimates.fn(run) == () and MonitorFolder(run).scores(9) == []
    assert MonitorFolder(run).score(1).said == 60, "it is not looked at again for the same words"


def test_damaged_records_of_an_earlier_window_do_not_keep_the_monitor_from_its_next(run, rows, caplog):
    say(run, rows[:60])
    [sealed] = seal_closed(run.folder / "records")
    sealed.write_bytes(b"no parquet")
    assert score_estimates.fn(run) == () and "window 1 is not scored" in caplog.text


def test_one_run_reads_few_windows_whether_they_can_be_scored_or_not(run, rows, monkeypatch):
    verdict, tried = MonitorFolder(run).verdict(1), []
    for no in range(2, 8):
        MonitorFolder(run).write_verdict(verdict.model_copy(update={"no": no}))
    MonitorFolder(run).set_mark(Mark(window=7))
    monkeypatch.setattr(
        "tasks.monitoring.score_estimates._scored", lambda _run, verdict, _said: tried.append(verdict.no)
    )
    say(run, rows[:60])
    for latest in (5, 2, 1):
        score_estimates.fn(run)
        assert tried == [*range(7, latest - 1, -1)]


def test_the_alarm_of_a_champion_that_was_replaced_ends_with_the_monitors_next_run(run, rows):
    folder = MonitorFolder(run)
    folder.write_status({**status_of(folder.verdict(1)), "alarm": 1})
    waiting(run, read_window.fn(run))
    assert folder.status()["alarm"] == 1, "nothing new was served"
    release_next(run.folder, read_release(run.release_file), write_package(run.folder, draw_rows(250, 7), version=2))
    waiting(run, read_window.fn(run))
    assert set(folder.status()) == {"at"}


def test_a_begun_window_that_has_too_few_records_by_now_begins_anew(run, rows):
    """Retention was faster than the next run, or more is asked of a window: else it would wait for ever."""
    served = Served(run.folder, read_release(run.release_file).champion)
    first, _ = served.write(110)
    assert read_window.fn(run).enough, "and the monitor is killed"
    first.unlink()
    served.write(90)
    assert not read_window.fn(run).enough
    served.write(30)
    window = read_window.fn(run)
    assert window.enough and len(window.table) == 120


def test_a_window_whose_records_or_package_are_gone_is_left_unscored(run, rows):
    say(run, rows[:60])
    [reference] = run.packages.glob("*/reference.parquet")
    reference.rename(reference.with_name("gone"))
    assert score_estimates.fn(run) == ()
