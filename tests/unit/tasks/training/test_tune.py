import json
from types import SimpleNamespace

import pytest

from configs.load import load_system
from configs.tuning import TuningConfig
from tasks.cluster import tune as ray_tune
from tasks.cluster.tune import Trial, best_of, tune_on_ray
from tasks.run import Run
from tasks.training import tune
from tasks.training.pace import allowed_share
from tasks.training.pretrain import Start
from tasks.training.train import train_plan
from tasks.training.tune import _told
from vision.errors import UserError

SPACE = {"lr_scale": {"type": "log_float", "low": 0.1, "high": 10}}


def trial(number, score, **changes):
    return Trial(number=number, values={"lr_scale": 1.0}, score=score, epochs=3, planned=3, cpu_seconds=10.0, **changes)


def test_the_configs_own_settings_win_a_draw_and_a_trial_without_a_score_wins_nothing():
    assert best_of([trial(0, 0.5), trial(1, None), trial(2, 0.5)]).number == 0
    assert best_of([trial(0, None), trial(1, 0.5), trial(2, 0.7)]).number == 2


def test_the_page_says_what_was_found_beside_the_configs_own():
    trials = [trial(0, 0.5), trial(1, 0.75)]
    found = "20 CPU-seconds. Trial 1 is trained in full: val_macro_f1 0.750, the config's own 0.500"
    assert found in _told(trials, trials[1], "val_macro_f1")
    assert "Nothing beat the config's own settings" in _told(trials, trials[0], "val_macro_f1")
    assert "did not come to an end" in _told([trial(0, None), trials[1]], trials[1], "val_macro_f1")


@pytest.mark.parametrize(("machines", "asked", "gpus"), [
    ([{"CPU": 2.0}], {}, 0.0),
    ([{"CPU": 2.0, "GPU": 1.0}], {}, 1.0),
    ([{"CPU": 2.0, "GPU": 1.0}], {"gpus_per_trial": 0.5}, 0.5),
])  # fmt: skip
def test_a_trial_takes_a_gpu_where_there_is_one(machines, asked, gpus, monkeypatch):
    monkeypatch.setattr(ray_tune, "machine_resources", lambda: machines)
    assert ray_tune._gpus_with_room(TuningConfig(space=SPACE, **asked)) == gpus


@pytest.mark.parametrize("asked", [{"cpus_per_trial": 3}, {"gpus_per_trial": 1.0}])
def test_a_trial_that_no_machine_has_room_for_is_refused_and_not_waited_for(asked, monkeypatch):
    monkeypatch.setattr(ray_tune, "machine_resources", lambda: [{"CPU": 2.0}, {"CPU": 2.0}])
    with pytest.raises(UserError, match="on one machine"):
        ray_tune._gpus_with_room(TuningConfig(space=SPACE, **asked))


def test_a_budget_allows_the_share_of_the_epochs_that_it_pays_for_and_no_more_than_all():
    made = {"stages": {"head": 5, "all": 10}, "cpu_seconds": {"head": 2.0, "all": 9.0}}
    assert allowed_share(made, 50.0) == 0.5 and allowed_share(made, 1000.0) == 1.0


def test_a_search_by_optuna_where_it_is_not_installed_is_refused(monkeypatch):
    run = Run.model_construct(config=load_system("quickstart", {"tuning": json.dumps({"space": SPACE})}))
    monkeypatch.setattr(tune, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="make setup"):
        tune._refuse_missing_optuna(run)


def test_a_search_that_was_killed_at_its_very_end_is_not_made_again(tmp_path):
    found = [trial(0, 0.5), trial(1, 0.7)]
    (tmp_path / "trials.json").write_text(json.dumps([one.model_dump() for one in found]))
    (tmp_path / "tune").mkdir()
    assert tune_on_ray(None, None, tmp_path, None) == found
    assert [path.name for path in tmp_path.iterdir()] == ["trials.json"]


@pytest.mark.parametrize("plan", [tune._plan, train_plan], ids=["search", "training"])
def test_a_weights_file_that_changed_is_another_search_as_it_is_another_training(plan, tmp_path):
    (tmp_path / "start.safetensors").write_bytes(b"first")
    asked = {"tuning": {"space": SPACE}, "model.weights": "file", "model.file": "start.safetensors"}
    run = Run.model_construct(config=load_system("quickstart", asked), weights_root=tmp_path)
    here = SimpleNamespace(key="cache", labels=("a", "b"))
    before = plan(run, here, here, Start()).key
    assert plan(run, here, here, Start()).key == before
    (tmp_path / "start.safetensors").write_bytes(b"other")
    assert plan(run, here, here, Start()).key != before


def test_what_goes_on_from_the_champion_searches_nothing_and_takes_the_champions_settings(tmp_path):
    run = Run.model_construct(config=load_system("quickstart", {"tuning": {"space": SPACE}}), config_sha="own")
    start = Start(champion=SimpleNamespace(weights=tmp_path / "model.safetensors"))
    (tmp_path / "lineage.json").write_text("{}")
    assert tune.tune(run, None, None, start) is run
    found = {"tuning": {"stage": "f" * 64, "values": {"training.label_smoothing": 0.03}}}
    (tmp_path / "lineage.json").write_text(json.dumps(found))
    tuned = tune.tune(run, None, None, start)
    assert tuned.config.training.label_smoothing == 0.03 and tuned.config_sha != "own"
    assert tuned.tuned.stage == "f" * 64
