"""The monitor on drawn records, with the real Prefect, MLflow and Evidently: from the first records to a training's event.

The tests of this module build on each other, in order, as a service's days do.
"""

import hashlib
import io
import json
import time
from datetime import UTC, datetime

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from flows.command import DONE
from tasks.tracking import Tracker
from tests.drawn_records import draw_rows, release_next, write_package
from tests.monitor_stage import DARK, QUICK, MonitorStage
from vision.records import Feedback, day_folder, day_number, feedback_line
from vision.release import read_release

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]


@pytest.fixture(scope="module")
def made(shared_state):
    return MonitorStage(shared_state, "").released()


@pytest.fixture
def stage(made, tiny):
    made.system = tiny(**QUICK)
    return made


def test_too_few_records_wait_for_the_next_run_and_the_status_says_that_the_monitor_lives(stage, capsys):
    stage.served.write(60)
    assert stage.monitor() == DONE
    assert "waiting: 60 of 100 records" in capsys.readouterr().out
    assert stage.mark().window == 0 and set(stage.status()) == {"at"}


def test_a_window_of_the_same_kind_is_quiet_and_leaves_a_page_with_the_monitors_own_error_rates(stage, capsys):
    stage.served.write(100)
    assert stage.monitor() == DONE
    out, verdict = capsys.readouterr().out, stage.verdict(1)
    assert "no change" in out and (verdict.records, verdict.alarm, verdict.request) == (160, False, None)
    page = (stage.monitor_folder / "windows/1/report.html").read_text()
    assert (
        f"{verdict.false_alarms.rate:.2%}" in page
        and f"of {verdict.false_alarms.windows} windows without any change" in page
    )
    assert "./evidently.html" in page and (stage.monitor_folder / "windows/1/evidently.html").stat().st_size > 1e6
    assert any(shift.shift for shift in verdict.detectable)
    assert stage.status()["drifted"] == 0 and stage.status()["false_alarm_rate"] == verdict.false_alarms.rate
    assert not list((stage.folder / "records").rglob("*.ndjson")), "closed files are sealed"


def test_its_numbers_and_pages_are_in_mlflow_prefect_and_evidentlys_ui(stage, shared_state):
    tracker = Tracker(f"sqlite:///{shared_state / 'mlflow.db'}", shared_state / "mlartifacts", "tiny")
    [run] = tracker.client.search_runs([tracker.experiment_id()])
    assert run.info.run_name == "monitor_1" and run.info.status == "FINISHED"
    assert run.data.metrics["drift_p_value"] == pytest.approx(stage.verdict(1).drift.p_value)
    names = {item.path for item in tracker.client.list_artifacts(run.info.run_id, "monitor")}
    assert names == {"monitor/report.html", "monitor/evidently.html", "monitor/verdict.json"}
    with get_client(sync_client=True) as client:
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=["monitor-tiny", "monitor-tests-tiny"]))
        keys = {artifact.key for artifact in client.read_artifacts(artifact_filter=wanted)}
    assert keys == {"monitor-tiny", "monitor-tests-tiny"}
    from evidently.ui.workspace import Workspace

    place = Workspace.create(str(stage.monitor_folder / "evidently"))
    assert len(place.list_runs(place.search_project("tiny")[0].id)) == 1


def test_one_drifted_window_is_no_alarm(stage, capsys):
    stage.served.write(120, DARK)
    assert stage.monitor() == DONE
    assert "covariate shift, 1 of 2 windows" in capsys.readouterr().out
    verdict = stage.verdict(2)
    assert verdict.drift.drifted and verdict.changed and not verdict.alarm and stage.requests() == []
    assert (verdict.records, stage.status()["drifted"], stage.status()["alarm"]) == (120, 1, 0)


def test_enough_drifted_windows_are_an_alarm_whose_training_is_asked_for_by_an_event(stage, capsys):
    stage.served.write(120, DARK)
    assert stage.monitor() == DONE
    out, verdict = capsys.readouterr().out, stage.verdict(3)
    assert "ALARM: covariate shift, 2 of 3 windows" in out and "training 1 granted" in out
    assert "not learn the new conditions" in out, "a retrain without new labels says what it can't"
    [request] = stage.requests()
    assert (request.state, request.window, verdict.request.granted) == ("sent", verdict.name, True)
    assert verdict.name.startswith("window-3-")
    assert request.reason == verdict.reason and "no new labels" in request.reason
    [event] = wait_for_events(stage)
    assert event.payload == {"reason": request.reason, "window": verdict.name, "request": request.no}
    assert event.resource.id == "visionops.system.tiny"


def wait_for_events(stage):
    """The server writes them down in batches, some seconds later."""
    end = time.monotonic() + 30
    while not (found := sent_events(stage)) and time.monotonic() < end:
        time.sleep(0.5)
    return found


def sent_events(stage):
    """Since this module began: others of it use the same server and the same name of a system."""
    from prefect.server.events.filters import EventFilter, EventNameFilter, EventOccurredFilter

    chosen = EventFilter(
        event=EventNameFilter(name=["visionops.drift.detected"]), occurred=EventOccurredFilter(since=stage.began)
    )
    with get_client(sync_client=True) as client:
        answer = client._client.post("/events/filter", json={"filter": chosen.model_dump(mode="json")})
    from prefect.events import ReceivedEvent

    return [ReceivedEvent.model_validate(event) for event in answer.json()["events"]]


def test_the_next_alarm_waits_for_the_training_that_was_asked_for(stage, capsys):
    stage.served.write(120, DARK)
    assert stage.monitor() == DONE
    assert "not granted: training 1 (asked for) is sent" in capsys.readouterr().out
    assert [request.state for request in stage.requests()] == ["sent", "refused"] and len(sent_events(stage)) == 1


def test_a_new_champion_begins_a_new_count_and_answers_of_the_old_one_are_left_out(stage, capsys):
    before = read_release(stage.folder / "release.json")
    reference = draw_rows(250, seed=9, shift=DARK)
    stage.served.write(30, DARK)
    stage.served.model = write_package(stage.folder, reference, version=2)
    release_next(stage.folder, before, stage.served.model)
    stage.served.write(120, DARK)
    assert stage.monitor() == DONE
    verdict = stage.verdict(5)
    assert (verdict.records, verdict.others, verdict.model_version) == (120, {stage.model.package_sha: 30}, 2)
    assert verdict.windows_asked == 1 and not verdict.changed
    assert "left out: 30 of package" in capsys.readouterr().out


def test_enough_newly_labelled_images_ask_for_a_training_of_their_own(stage, capsys):
    from PIL import Image

    for number in range(5):
        prediction_id = stage.served.write(1)[1]["id"].iloc[0]
        inbox, said = (stage.folder / name / day_folder(day_number()) for name in ("inbox", "feedback"))
        inbox.mkdir(parents=True, exist_ok=True)
        said.mkdir(parents=True, exist_ok=True)
        stream = io.BytesIO()
        Image.effect_noise((40, 40), 30 + number).convert("RGB").save(stream, "PNG")
        picture = inbox / f"{hashlib.sha256(stream.getvalue()).hexdigest()}.png"
        picture.write_bytes(stream.getvalue())
        (inbox / f"{prediction_id}.json").write_text(json.dumps({"file": picture.name}))
        word = Feedback(id=prediction_id, label="moss", at=datetime.now(UTC), key_id="tester")
        with (said / f"host-{number}.ndjson").open("ab") as file:
            file.write(feedback_line(word))
    assert stage.monitor("data.classes=[amber, moss, rust]", "retraining.cool_down_h=0") == DONE
    out = capsys.readouterr().out
    assert "5 newly labelled images (from 5 on a training is asked for)" in out and "is sent" in out
    assert stage.requests()[-1].reason.startswith("new_labels: 5 newly labelled images are taken in")


def test_only_so_many_pages_are_kept_and_every_verdict(stage):
    stage.served.write(120, DARK)
    assert stage.monitor("monitor.kept_reports=2") == DONE
    windows = {
        path.name: {item.name for item in path.iterdir()} for path in (stage.monitor_folder / "windows").iterdir()
    }
    assert [no for no in sorted(windows) if "report.html" in windows[no]] == ["5", "6"]
    assert all({"verdict.json", "rows.json"} <= names for names in windows.values())
