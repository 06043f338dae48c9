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
    assert "got weights random and one of simclr" in refused(**{"pretraining.epochs": 3})


def test_method_is_what_the_weights_say_and_an_unknown_one_is_told_with_those_there_are():
    drawn = load_system("magnetic_tile", {"model.weights": "drawn_defects", "pretraining": {"views": 2}})
    assert (drawn.pretraining.method, drawn.pretraining.views) == ("drawn_defects", 2)
    said = refused(**{"model.weights": "simclr", "pretraining.method": "simclrr"})
    assert "pretraining.method = 'simclrr'" in said
    assert "did you mean `simclr`" in said
    assert "keys with a `method` among" in refused(**{"model.weights": "simclr", "pretraining": 3})
    assert "unknown key pretraining.temperature" in refused(
        **{"model.weights": "drawn_defects", "pretraining": {"temperature": 0.3}}
    )


def test_defects_are_drawn_for_a_memory_only():
    assert "kind anomaly" in refused(**{"model.weights": "drawn_defects", "pretraining": {"views": 2}})


def test_mistakes_name_the_field_and_what_is_allowed():
    simclr = {"model.weights": "simclr"}
    assert "did you mean `temperature`" in refused(**simclr, **{"pretraining.temprature": 0.1})
    assert "pretraining.temperature = 0" in refused(**simclr, **{"pretraining.temperature": 0})
    assert "must be at most 128" in refused(**simclr, **{"pretraining.side_px": 160})
    assert "must rise" in refused(**simclr, **{"pretraining.crop_scale": [0.5, 0.2]})
    assert "training.label_share = 0" in refused(**{"training.label_share": 0})
