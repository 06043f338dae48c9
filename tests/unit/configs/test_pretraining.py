"""What a config may say of pre-training."""

import pytest

from configs.load import load_system
from vision.errors import UserError


def refused(**overrides) -> str:
    with pytest.raises(UserError) as caught:
        load_system("quickstart", overrides)
    return str(caught.value)


def test_pretraining_takes_its_defaults_from_the_paper():
    config = load_system("quickstart", {"model.weights": "simclr", "pretraining": {"epochs": 3}})
    assert (config.pretraining.epochs, config.pretraining.temperature, config.pretraining.size) == (3, 0.5, 128)
    assert load_system("quickstart").pretraining is None


def test_weights_and_section_go_together():
    assert "got weights simclr and none" in refused(**{"model.weights": "simclr"})
    assert "got weights random and one" in refused(**{"pretraining.epochs": 3})


def test_mistakes_name_the_field_and_what_is_allowed():
    simclr = {"model.weights": "simclr"}
    assert "did you mean `temperature`" in refused(**simclr, **{"pretraining.temprature": 0.1})
    assert "pretraining.temperature = 0" in refused(**simclr, **{"pretraining.temperature": 0})
    assert "must be at most 128" in refused(**simclr, **{"pretraining.side_px": 160})
    assert "must rise" in refused(**simclr, **{"pretraining.crop_scale": [0.5, 0.2]})
    assert "training.label_share = 0" in refused(**{"training.label_share": 0})
