"""The spine, with the real Prefect, Ray, DVC, GX, MLflow and BentoML, on sixteen drawn leaves a class.

The tests of this module build on each other, in order, as a user's runs do.
"""

import hashlib
import json
from datetime import UTC, datetime

import pandas as pd
import pytest
from uuid6 import uuid7

from configs.retraining import RetrainingConfig
from flows.command import AGAINST, DONE, MISTAKE, main
from flows.evaluate_model import evaluate_model, options
from flows.explore_data import explore_data
from flows.export_model import export_model
from flows.export_model import options as export_options
from flows.monitor_drift import monitor_drift
from flows.queue_labels import options as queue_options
from flows.queue_labels import queue_labels
from flows.train_model import train_model
from tasks.audit import read_audit
from tasks.monitoring.governor import Governor
from tasks.tracking import CHALLENGER, CHAMPION, Tracker, alias_version
from tests.drawn_records import serve_drifted
from vision.data.config import DrawnSource
from vision.data.synthetic.dataset import draw_dataset
from vision.export.golden import TOLERANCES
from vision.package import open_package
from vision.records import Feedback, day_folder, day_number, feedback_line
from vision.records_log import LineLog
from vision.release import read_release

SIMCLR = ("model.weights=simclr", "pretraining={epochs: 2, batch_size: 8}", "tracking.loggers=[tensorboard]")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server", "ray", "shared_state")]


def train(system, *pairs):
    argv = ["--system", system]
    for pair in pairs:
        argv += ["--set", pair]
    return main(train_model, argv=argv)


def versions(tracker):
    return sorted(int(v.version) for v in tracker.client.search_model_versions("name = 'tiny'"))


@pytest.fixture
def tracker(shared_state):
    return Tracker(f"sqlite:///{shared_state / 'mlflow.db'}", shared_state / "mlartifacts", "tiny")


def stages(state):
    return {
        path.parent.parent.name: json.loads(path.read_text())
        for path in state.glob("systems/tiny/stages/*/*/stage.json")
    }


def test_a_first_model_becomes_champion_with_everything_it_came_from(tiny, shared_state, tracker, capsys):
    assert train(tiny()) == DONE
    assert "version 1" in capsys.readouterr().out
    champion = alias_version(tracker, CHAMPION)
    release = read_release(shared_state / "systems" / "tiny" / "release.json")
    assert (champion.version, release.champion.version, release.reason) == (1, 1, "first_model")
    package = open_package(shared_state / "systems" / "tiny" / release.champion.uri, champion.package_sha)
    lineage = json.loads((package.folder / "lineage.json").read_text())
    made = stages(shared_state)
    assert lineage["split_sha"] == made["split"]["made"]["split_sha"]
    assert lineage["run_id"] == champion.run_id
    tags = tracker.client.get_model_version("tiny", "1").tags
    assert tags["dvc_md5"] == lineage["dvc_md5"] and tags["semver"] == "0.1.0" and tags["config_sha"]
    assert [row["what"] for row in read_audit(f"sqlite:///{shared_state / 'state.db'}", "tiny")] == ["alias:champion"]
    assert (shared_state / "bentoml" / "bentos" / "visionops_tiny" / "v1").is_dir()
    assert made["smoke"]["made"]["verdict"]["passed"]
    (page,) = shared_state.glob("systems/tiny/reports/*/report.html")
    shown = page.read_text()
    assert all(
        part in shown for part in ("Parity with the trained network", "OpenVINO, float32", "the bento, over HTTP")
    )


def test_the_champion_is_found_and_handed_over_as_files(tiny, tracker, tmp_path, capsys):
    to = tmp_path / "files"
    assert main(export_model, export_options, argv=["--system", tiny(), "--to", str(to)]) == DONE
    assert json.loads((to / "export.json").read_text())["package_sha"] == alias_version(tracker, CHAMPION).package_sha
    assert "int8: left out, none was made" in capsys.readouterr().out


def test_the_run_in_mlflow_has_curve_data_and_package(shared_state, tracker):
    run = tracker.client.get_run(alias_version(tracker, CHAMPION).run_id)
    assert run.info.run_name == "mobilenet_v3_small_v1" and run.info.status == "FINISHED"
    assert "val_macro_f1" in run.data.metrics and "test_macro_f1" in run.data.metrics
    assert run.inputs.dataset_inputs[0].dataset.name == "tiny"
    names = {item.path for item in tracker.client.list_artifacts(run.info.run_id)}
    assert {"package", "evaluation", "gate"} <= names


def test_the_same_again_runs_no_stage_and_registers_nothing(tiny, shared_state, tracker):
    times = {path: path.stat().st_mtime_ns for path in shared_state.glob("systems/tiny/stages/*/*/stage.json")}
    assert train(tiny()) == DONE
    assert {path: path.stat().st_mtime_ns for path in shared_state.glob("systems/tiny/stages/*/*/stage.json")} == times
    assert versions(tracker) == [1]


def test_another_training_becomes_challenger_and_met_the_champion(tiny, shared_state, tracker):
    changes = ("training.seed=7", "gate.max_drop=0.9", "gate.max_class_drop=0.99", "export.int8=true")
    assert train(tiny(), *changes, *SIMCLR) == DONE
    assert versions(tracker) == [1, 2]
    assert (alias_version(tracker, CHAMPION).version, alias_version(tracker, CHALLENGER).version) == (1, 2)
    gates = [json.loads(p.read_text())["made"] for p in shared_state.glob("systems/tiny/stages/gate/*/stage.json")]
    assert any(gate["champion"] and gate["champion"]["version"] == 1 for gate in gates)
    package = shared_state / "systems/tiny/packages" / alias_version(tracker, CHALLENGER).package_sha
    said = json.loads((package / "spec.json").read_text())["int8"]
    assert said["drop"] is not None and (package / "model.int8.onnx").is_file() == said["passed"]


def test_the_data_is_told_without_training_and_the_report_tells_where_the_model_errs(tiny, shared_state, capsys):
    trained = set(shared_state.glob("systems/tiny/stages/train/*"))
    assert main(explore_data, argv=["--system", tiny()], registry=False) == DONE
    page = shared_state / "systems" / "tiny" / "reports" / "data.html"
    assert str(page) in capsys.readouterr().out and "A map of the data" in page.read_text()
    assert set(shared_state.glob("systems/tiny/stages/train/*")) == trained
    report = next(shared_state.glob("systems/tiny/reports/*/report.html")).read_text()
    for chapter in ("What the data said", "What is taken for what", "Slices", "How it behaves"):
        assert f"<h2>{chapter}</h2>" in report


def test_its_pretraining_is_a_stage_and_a_run_of_its_own_and_every_logger_was_told(shared_state, tracker):
    (pretrained,) = (json.loads(p.read_text()) for p in shared_state.glob("systems/tiny/stages/pretrain/*/stage.json"))
    package = shared_state / "systems/tiny/packages" / alias_version(tracker, CHALLENGER).package_sha
    lineage = json.loads((package / "lineage.json").read_text())
    assert (lineage["weights"]["origin"], lineage["stages"]["pretrain"]) == ("simclr", pretrained["key"])
    run, own = (tracker.client.get_run(run_id) for run_id in (lineage["run_id"], pretrained["made"]["run_id"]))
    assert run.data.tags["pretraining_run"] == own.info.run_id
    assert (own.info.run_name, own.info.status) == ("mobilenet_v3_small_pretraining", "FINISHED")
    assert "train_loss" in own.data.metrics and "val_macro_f1" not in own.data.metrics
    written = {path.parent.name for path in shared_state.glob("systems/tiny/tensorboard/*/events.out.tfevents.*")}
    assert written == {
        f"mobilenet_v3_small_{one}ing_{run.info.run_id[:8]}" for one, run in (("train", run), ("pretrain", own))
    }


def test_a_lost_gate_registers_nothing_and_says_why(tiny, tracker, capsys):
    assert train(tiny(), "gate.minimum={accuracy: 1.0}") == AGAINST
    assert "accuracy" in capsys.readouterr().out and versions(tracker) == [1, 2]


def test_a_graph_that_differs_from_the_trained_network_is_rejected_and_makes_no_package(
    tiny, shared_state, tracker, capsys, monkeypatch
):
    monkeypatch.setitem(TOLERANCES, "float32", 0.0)  # no two runtimes sum in one order
    packages = set((shared_state / "systems/tiny/packages").iterdir())
    assert train(tiny(), "gate.minimum={accuracy: 0.0}") == AGAINST
    assert "parity: ONNX Runtime, float32: 16 images differ by at most" in capsys.readouterr().out
    assert versions(tracker) == [1, 2] and set((shared_state / "systems/tiny/packages").iterdir()) == packages


def test_a_broken_contract_stops_before_training_and_names_the_rule(tiny, shared_state, tracker, capsys):
    trained = set(shared_state.glob("systems/tiny/stages/train/*"))
    assert train(tiny(), "contract.min_images_per_class=1000") == AGAINST
    assert "images_per_class" in capsys.readouterr().err
    assert set(shared_state.glob("systems/tiny/stages/train/*")) == trained and versions(tracker) == [1, 2]


def test_the_champion_is_measured_again_on_its_data(tiny, shared_state, capsys):
    assert main(evaluate_model, options, ["--system", tiny(), "--images", "val"]) == DONE
    # Where Prefect's server is too busy to hand the result back, the state's own message has it.
    assert "macro_f1" in capsys.readouterr().out.replace(" ", "_")
    rows = pd.read_parquet(next(shared_state.glob("systems/tiny/stages/split/*/splits.parquet")))
    assert set(rows["split"].dropna()) == {"train", "val", "test"}


def test_an_alarm_with_no_server_trains_here_and_now(tiny, shared_state, tracker, capsys, monkeypatch):
    monkeypatch.setattr("tasks.monitoring.request_training.has_server", lambda: False)
    known = versions(tracker)
    for _ in range(2):
        serve_drifted(shared_state / "systems" / "tiny", copies=8)
        assert main(monitor_drift, argv=["--system", tiny()], registry=False) == DONE
    out = capsys.readouterr().out
    assert "ALARM" in out and "training" in out and "in window 2: no new labels" in out
    requests = Governor(f"sqlite:///{shared_state / 'state.db'}", "tiny", RetrainingConfig()).requests()
    assert requests[-1].window.startswith("window-2-") and (requests[-1].automatic, requests[-1].state) == (
        True,
        "ended",
    )
    assert {request.automatic for request in requests[:-1]} == {False}, "trainings by hand are known too"
    assert [request.state for request in requests].count("rejected") == 3, (
        "a lost gate, lost parity and a broken contract take no labels"
    )
    assert versions(tracker) == known, "with nothing new it makes the same model again"


def serve_and_label(system, images):
    """What a service keeps of images that clients asked to keep, and what they say of them later."""
    inbox, log = system / "inbox" / day_folder(day_number()), LineLog(system / "feedback")
    inbox.mkdir(parents=True)
    for image in images:
        data, made = image.read_bytes(), str(uuid7())
        name = hashlib.sha256(data).hexdigest() + image.suffix
        (inbox / name).write_bytes(data)
        (inbox / f"{made}.json").write_text(json.dumps({"id": made, "file": name}))
        log.append(feedback_line(Feedback(id=made, label=image.parent.name, at=datetime.now(UTC), key_id="app")))
    log.close()


def data_and_splits(state):
    system = state / "systems" / "tiny"
    head = json.loads((system / "split_head.json").read_text())
    table = pd.read_parquet((system / head["path"]).with_name("splits.parquet"))
    return json.loads((system / "dataset.json").read_text()), table


def test_labels_that_came_since_are_a_new_data_version_and_old_images_keep_their_split(
    tiny, shared_state, tmp_path, capsys
):
    data, before = data_and_splits(shared_state)
    draw_dataset(DrawnSource(type="drawn", images_per_class=6, side_px=64, seed=99), tmp_path / "served")
    images = sorted((tmp_path / "served" / "images").glob("*/*"))
    serve_and_label(shared_state / "systems" / "tiny", images)
    champion = read_release(shared_state / "systems" / "tiny" / "release.json").champion
    wide = {"gate": {"max_drop": 0.9, "max_class_drop": 0.99}}
    train_model(tiny(), wide, "a drift", "window-9")
    assert f"{len(images)} images labelled since" in capsys.readouterr().out
    latest = max(shared_state.glob("systems/tiny/stages/train/*/fit.json"), key=lambda path: path.stat().st_mtime)
    fit = json.loads(latest.read_text())
    assert (fit["weights"]["origin"], fit["weights"]["package_sha"]) == ("champion", champion.package_sha)
    assert fit["stages"] == ["all"]
    later, after = data_and_splits(shared_state)
    assert later["dvc_md5"] != data["dvc_md5"] and later["labelled"] == len(images)
    assert all(later["counts"][label] == count + 6 for label, count in data["counts"].items())
    both = before.merge(after, on="path", suffixes=("", "_later"))
    assert len(both) == len(before) and (both["split"] == both["split_later"]).all()
    grown = after["split"].value_counts() - before["split"].value_counts()
    assert grown["train"] > 0 and grown["test"] > 0


def test_label_queues_are_made_and_taken_in_from_the_command_line(tiny, capsys):
    assert main(queue_labels, queue_options, ["--system", tiny()]) == DONE
    said = capsys.readouterr().out
    assert "no new labels in any queue" in said and "kept answers are labelled" in said
    assert main(queue_labels, queue_options, ["--system", tiny(), "--take", "9"]) == MISTAKE
    assert "no label queue 9" in capsys.readouterr().err
