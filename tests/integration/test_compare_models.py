"""Two architectures compared on the tiny system, with the real Prefect, Ray and MLflow."""

import json

import pytest

from flows.command import DONE, MISTAKE, main
from flows.compare_models import compare_models
from flows.cross_validate import cross_validate, options
from tasks.run import open_run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server", "ray", "shared_state")]
ARCHS = ["mobilenet_v3_small", "resnet18"]


def stages(state, name):
    return [json.loads(path.read_text()) for path in state.glob(f"systems/tiny/stages/{name}/*/stage.json")]


def test_an_architecture_that_the_model_section_refuses_is_told_before_anything_runs(tiny, capsys):
    stem = {"arch": "resnet18", "weights": "random", "stem": "cifar"}
    assert main(compare_models, argv=["--system", tiny(model=stem, compare={"archs": ARCHS})]) == MISTAKE
    assert "compare.archs has mobilenet_v3_small: " in capsys.readouterr().err


@pytest.mark.system  # two trainings; ranking, page and recommendation have quick tests
def test_a_comparison_recommends_one_of_its_models_by_figures_that_it_measured(tiny, shared_state, capsys):
    system = tiny(compare={"archs": ARCHS, "cpu_seconds": 0.1})
    assert main(compare_models, argv=["--system", system]) == DONE
    said = capsys.readouterr().out
    (compared,) = stages(shared_state, "compare")
    arch = compared["made"]["arch"]
    assert arch in ARCHS and compared["made"]["text"] in said and f"SET='model.arch={arch} training.seed=42'" in said
    page = (shared_state / "systems/tiny/reports/comparison.html").read_text()
    assert all(name in page for name in ARCHS) and "data:image/" in page
    for made in (stage["made"] for stage in stages(shared_state, "weigh")):
        assert made["latency_ms"]["float32"] > 0 and made["latency_ms"][made["served"]] > 0
        assert made["latency_ms"]["int8"] is None and made["parameters"] > 5e5 and made["size_mib"]["float32"] > 3
    # One epoch is the least: what was trained is what the config asks for, and train_model takes it up.
    trained = stages(shared_state, "train")
    assert [stage["made"]["epochs"] for stage in trained] == [1, 1]
    assert all(stage["made"]["cpu_seconds"]["all"] > 0.1 for stage in stages(shared_state, "pace"))
    runs = [open_run(system, {}).tracker().client.get_run(stage["made"]["run_id"]) for stage in trained]
    assert {run.info.status for run in runs} == {"FINISHED"} and {run.data.params["model.arch"] for run in runs} == set(
        ARCHS
    )


def test_two_folds_test_every_image_once_and_leave_no_model_in_the_registry(tiny, shared_state, capsys):
    system = tiny()
    versions = open_run(system, {}).tracker().client.search_model_versions(f"name='{system}'")
    assert main(cross_validate, options, ["--system", system, "--folds", "2"]) == DONE
    (found,) = stages(shared_state, "folds")
    assert found["made"]["text"] in capsys.readouterr().out and 0 <= found["made"]["value"] <= 1
    counts = [sum(row.get("test", 0) for row in one["made"]["counts"].values()) for one in stages(shared_state, "fold")]
    (described,) = {one["made"]["images"] for one in stages(shared_state, "describe")}
    assert len(counts) == 2 and sum(counts) == described
    assert open_run(system, {}).tracker().client.search_model_versions(f"name='{system}'") == versions
    assert "data:image/" in (shared_state / "systems/tiny/reports/folds.html").read_text()
