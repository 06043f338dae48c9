import json

import pytest

from configs.load import FOLDER, known_systems, load_system
from configs.tuning import overridden, own_values
from vision.errors import UserError

SPACE = {
    "lr_scale": {"type": "log_float", "low": 0.1, "high": 10},
    "training.batch_size": {"type": "choice", "values": [16, 32]},
    "training.optimizer.name": {"type": "choice", "values": ["adamw", "sgd"]},
    "model.dropout": {"type": "float", "low": 0, "high": 0.5},
}


def with_space(**space):
    """As on a command line: the dots in the keys are part of them."""
    return load_system("quickstart", {"tuning": json.dumps({"space": space})})


def test_no_system_is_tuned_unless_it_says_so():
    assert load_system("quickstart").tuning is None


def test_the_configs_own_values_change_nothing():
    config = with_space(**SPACE)
    own = own_values(config.tuning.space, config.model, config.training)
    assert own == {"lr_scale": 1.0, "training.batch_size": 32, "training.optimizer.name": "adamw", "model.dropout": 0.0}
    assert overridden(config, own) == config


def test_values_of_a_trial_go_where_their_keys_say_and_rates_of_all_stages_are_scaled():
    config = with_space(**SPACE)
    found = overridden(config, {"lr_scale": 2.0, "training.optimizer.name": "sgd", "model.dropout": 0.25})
    assert (found.training.optimizer.name, found.model.dropout) == ("sgd", 0.25)
    for before, after in zip(config.training.stages, found.training.stages, strict=True):
        assert after.lr == 2 * before.lr and after.backbone_lr == (before.backbone_lr and 2 * before.backbone_lr)
    assert found.training.stages_from_scratch[0].lr == 2 * config.training.stages_from_scratch[0].lr
    assert found.tuning == config.tuning


@pytest.mark.parametrize(
    ("key", "domain", "says"),
    [
        ("training.stages", {"type": "int", "low": 1, "high": 2}, "one of lr_scale, training.batch_size"),
        ("model.arch", {"type": "choice", "values": ["resnet18", "resnet50"]}, "one of lr_scale"),
        ("training.batch_size", {"type": "float", "low": 16, "high": 64}, "would try 34.3"),
        ("training.batch_size", {"type": "int", "low": 8, "high": 31}, "must hold the config's own value, 32"),
        ("training.schedule", {"type": "choice", "values": ["one_cycle", "linear"]}, "would try 'linear'"),
        ("model.dropout", {"type": "float", "low": 0, "high": 1}, "would try 1.0"),
        ("model.dropout", {"type": "log_float", "low": 0, "high": 0.5}, "above 0 and below"),
        ("model.dropout", {"type": "float", "low": 0.5, "high": 0.1}, "below `high`"),
        ("model.dropout", {"type": "choice", "values": [0.0]}, "values"),
        ("model.dropout", {"type": "normal", "low": 0, "high": 0.5}, "one of"),
    ],
)
def test_a_space_that_no_training_could_take_is_refused_before_anything_runs(key, domain, says):
    with pytest.raises(UserError) as caught:
        with_space(**{key: domain})
    assert says in str(caught.value) and "tuning.space" in str(caught.value)


@pytest.mark.parametrize("name", known_systems())
def test_the_search_that_base_offers_goes_with_every_system(name, tmp_path):
    path = tmp_path / "searched.yaml"
    path.write_text(f"extends: [{FOLDER / name}.yaml, {FOLDER / 'base' / 'tuning.yaml'}]\nsystem: searched\n")
    assert load_system(path).tuning.trials == 9
