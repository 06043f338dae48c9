"""The spine, with the real Prefect, Ray, DVC, GX, MLflow and BentoML, on sixteen drawn leaves a class.

The tests of this module build on each other, in order, as a user's runs do.
"""

import json

import pandas as pd
import pytest

from flows.command import AGAINST, DONE, main
from flows.evaluate_model import evaluate_model, options
from flows.train_model import train_model
from tasks.audit import read_audit
from tasks.tracking import CHALLENGER, CHAMPION, Tracker, alias_version
from vision.package import open_package
from vision.release import read_release

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
    assert train(tiny(), "training.seed=7", "gate.max_drop=0.9", "gate.max_class_drop=0.99") == DONE
    assert versions(tracker) == [1, 2]
    assert (alias_version(tracker, CHAMPION).version, alias_version(tracker, CHALLENGER).version) == (1, 2)
    gates = [json.loads(p.read_text())["made"] for p in shared_state.glob("systems/tiny/stages/gate/*/stage.json")]
    assert any(gate["champion"] and gate["champion"]["version"] == 1 for gate in gates)


def test_a_lost_gate_registers_nothing_and_says_why(tiny, tracker, capsys):
    assert train(tiny(), "gate.minimum={accuracy: 1.0}") == AGAINST
    assert "accuracy" in capsys.readouterr().out and versions(tracker) == [1, 2]


def test_a_broken_contract_stops_before_training_and_names_the_rule(tiny, shared_state, tracker, capsys):
    trained = set(shared_state.glob("systems/tiny/stages/train/*"))
    assert train(tiny(), "contract.min_images_per_class=1000") == AGAINST
    assert "images_per_class" in capsys.readouterr().err
    assert set(shared_state.glob("systems/tiny/stages/train/*")) == trained and versions(tracker) == [1, 2]


def test_the_champion_is_measured_again_on_its_data(tiny, shared_state, capsys):
    assert main(evaluate_model, options, ["--system", tiny(), "--images", "val"]) == DONE
    assert "macro f1" in capsys.readouterr().out
    rows = pd.read_parquet(next(shared_state.glob("systems/tiny/stages/split/*/splits.parquet")))
    assert set(rows["split"].dropna()) == {"train", "val", "test"}
