"""From what a training starts: the champion only where the monitor asked, its network is the same and there is new data."""

import json
import logging
from types import SimpleNamespace

import pytest
import yaml

import tasks.training.pretrain
import tasks.training.warm_start
from configs.retraining import RetrainingConfig
from tasks.training.warm_start import champion_start
from vision.models.config import ModelConfig

MODEL = ModelConfig(arch="resnet18", head="mlp", hidden=64)
DATA = SimpleNamespace(dvc_md5="new", labels=("a", "b"))


def run(window="window-1", start="champion", kind="classify", model=MODEL):
    config = SimpleNamespace(retraining=RetrainingConfig(start=start), model=model, kind=kind)
    return SimpleNamespace(window=window, config=config)


@pytest.fixture
def champion(tmp_path, monkeypatch):
    """A package as far as it is looked at: given its network, labels and data."""

    def made(model=MODEL, labels=("a", "b"), dvc_md5="old"):
        config = {"kind": "classify", "model": model.model_dump(mode="json")}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
        (tmp_path / "lineage.json").write_text(json.dumps({"dvc_md5": dvc_md5}))
        package = SimpleNamespace(folder=tmp_path, spec=SimpleNamespace(labels=labels))
        found = SimpleNamespace(version=3, package=package)
        monkeypatch.setattr(tasks.training.warm_start, "open_champion", lambda _: found)
        return found

    return made


def test_a_training_that_the_monitor_asked_for_goes_on_from_the_champion(champion, tmp_path):
    champion()
    start = champion_start(run(), DATA)
    assert (start.version, start.weights, start.same_labels) == (3, tmp_path / "model.safetensors", True)


def test_with_a_new_label_or_another_order_the_head_starts_anew(champion):
    for labels in (("a",), ("b", "a")):
        champion(labels=labels)
        assert champion_start(run(), DATA).same_labels is False


@pytest.mark.parametrize("asked", [{"window": None}, {"start": "config"}, {"kind": "detect"}])
def test_by_hand_by_the_config_and_of_another_kind_it_starts_as_the_config_says(champion, asked):
    champion()
    assert champion_start(run(**asked), DATA) is None


@pytest.mark.parametrize(
    "change",
    [{"arch": "resnet50"}, {"head": "linear"}, {"hidden": 128}, {"stem": "cifar"}, {"normalise": "dataset"}],
    ids=lambda change: next(iter(change)),
)
def test_a_champion_of_another_network_is_left_aside_and_that_is_said(champion, caplog, change):
    champion(model=MODEL.model_copy(update=change))
    with caplog.at_level(logging.WARNING):
        assert champion_start(run(), DATA) is None
    assert "of another network" in caplog.text


def test_the_width_of_a_layer_that_neither_has_makes_no_other_network(champion):
    linear = MODEL.model_copy(update={"head": "linear"})
    champion(model=linear.model_copy(update={"hidden": 128}))
    assert champion_start(run(model=linear), DATA) is not None


def test_other_dropout_or_other_first_weights_are_no_other_network(champion):
    champion(model=MODEL.model_copy(update={"dropout": 0.5, "weights": "imagenet"}))
    assert champion_start(run(), DATA) is not None


def test_the_same_data_again_or_no_champion_is_a_training_as_the_config_says(champion, monkeypatch):
    champion(dvc_md5="new")
    assert champion_start(run(), DATA) is None
    monkeypatch.setattr(tasks.training.warm_start, "open_champion", lambda _: None)
    assert champion_start(run(), DATA) is None


def test_the_champion_is_asked_for_once_and_spares_the_pretraining(champion, monkeypatch):
    asked, made = [], []
    monkeypatch.setattr(tasks.training.pretrain, "_pretrain", lambda *given: made.append(given) or "stage")
    monkeypatch.setattr(
        tasks.training.pretrain, "champion_start", lambda *given: asked.append(given) or champion_start(*given)
    )
    champion()
    simclr = run()
    simclr.config.pretraining = "asked for"
    start = tasks.training.pretrain.starting_weights(simclr, DATA, None)
    assert start.champion.version == 3 and start.pretrained is None and not made
    simclr.window = None
    assert tasks.training.pretrain.starting_weights(simclr, DATA, None) == tasks.training.pretrain.Start(
        pretrained="stage"
    )
    assert len(asked) == 2
