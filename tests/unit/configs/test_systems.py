"""Every system in `configs/`: it loads, it has a card for each class or none, and all its deployments."""

from pathlib import Path

import pytest
import yaml

from configs.load import known_systems, load_system
from vision.augment import build_augment
from vision.errors import UserError

ROOT = Path(__file__).parents[3]
FLOWS = {"train_model", "monitor_drift", "release_model", "queue_labels"}
CLASSIFIED = ("quickstart", "tomato_leaf", "crop_disease", "cifar10", "caltech101")


@pytest.fixture(scope="module")
def deployments():
    return yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]


def test_the_classification_systems_are_there():
    assert set(CLASSIFIED) <= set(known_systems())


@pytest.mark.parametrize("name", known_systems())
def test_a_system_loads_and_can_augment_and_compare(name):
    from tasks.run import Run
    from tasks.training.compare import contenders

    config = load_system(name)
    build_augment(config.training.augment, config.input, (0.5, 0.5, 0.5))
    run = Run.model_construct(config=config, config_sha="")
    if config.model.weights == "system":
        # Another's backbone is of one architecture: such a system is compared from other weights.
        with pytest.raises(UserError, match="those of one architecture"):
            contenders(run)
        config = load_system(name, {"model.weights": "random", "model.system": None})
        run = run.model_copy(update={"config": config})
    found = {(one.config.model.arch, one.config.training.seed) for one in contenders(run)}
    assert len(found) == len(config.compare.archs) * len(config.compare.seeds)


@pytest.mark.parametrize("name", known_systems())
def test_a_system_has_a_card_for_each_class_or_none(name):
    config = load_system(name)
    if config.cards and config.data.classes:
        assert set(config.cards) == set(config.data.classes)
    for label, card in config.cards.items():
        told = (card.crop, card.severity, card.action)
        assert all(told), f"{label} lacks a crop, a severity or what to do"
        assert bool(card.disease) == bool(card.product) == (card.severity != "none"), label


@pytest.mark.parametrize("name", known_systems())
def test_a_system_has_all_its_deployments(name, deployments):
    mine = [d for d in deployments if d["name"] == name]
    by_flow = {d["entrypoint"].rsplit(":", 1)[1]: d for d in mine}
    assert set(by_flow) >= FLOWS and len(by_flow) == len(mine)
    assert {d["parameters"]["system"] for d in mine} == {name}
    assert all(d["description"] and d["work_pool"]["name"] == "local" for d in mine)
    (trigger,) = by_flow["train_model"]["triggers"]
    assert trigger["match"] == {"prefect.resource.id": f"visionops.system.{name}"}
    assert trigger["expect"] == ["visionops.drift.detected"] and trigger["parameters"]["window"]


def test_every_deployment_starts_a_flow_that_is_there_with_parameters_that_it_takes(deployments):
    import importlib
    import inspect

    for deployment in deployments:
        file, name = deployment["entrypoint"].rsplit(":", 1)
        flow = getattr(importlib.import_module(file.removesuffix(".py").replace("/", ".")), name)
        assert set(deployment["parameters"]) <= set(inspect.signature(flow.fn).parameters)


def test_crop_disease_trains_as_its_earlier_system_did():
    training = load_system("crop_disease").training
    assert [(s.trainable, s.epochs, s.lr, s.backbone_lr) for s in training.stages] == [
        ("head", 5, 1e-3, None), ("top", 10, 1e-4, None), ("all", 10, 5e-5, 1e-5),
    ]  # fmt: skip
    # Tensor and normalisation are the eighth and ninth of its steps.
    assert [step.name for step in training.augment] == [
        "random_resized_crop", "horizontal_flip", "vertical_flip", "rotation", "color_jitter", "gaussian_blur", "random_erasing",
    ]  # fmt: skip
    assert (training.optimizer.name, training.schedule, training.label_smoothing) == ("adamw", "cosine", 0.1)
    assert (training.clip_norm, training.early_stop_epochs) == (1.0, 5)
