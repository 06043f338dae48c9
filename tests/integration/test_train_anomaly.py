"""Defects from normal images alone, through the real training flow: drawn defects, a memory, a package, a champion."""

import json

import pytest
from PIL import Image
from safetensors import safe_open

from flows.command import DONE, main
from flows.train_model import train_model
from tasks.tracking import CHAMPION, Tracker, alias_version
from tests.drawn_marks import plates

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server", "ray")]


@pytest.fixture
def plates_yaml(tiny, tmp_path):
    images, rows = plates()
    for image, path, label in zip(images, rows["path"], rows["label"], strict=True):
        folder = tmp_path / "plates" / label
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / path)
    return tiny(
        kind="anomaly",
        data={
            "source": {"type": "folder", "path": str(tmp_path / "plates")},
            "classes": ["normal", "defect"],
            "split": {"train": 0.5, "val": 0.25, "test": 0.25},
        },
        input={"side_px": 64, "resize_px": 64, "crop": "squash"},
        model={"arch": "resnet18", "weights": "drawn_defects", "memory": {"patches": 128, "false_alarm_rate": 0.2}},
        pretraining={"epochs": 3, "batch_size": 8, "views": 2},
        training={"batch_size": 8, "stages": [], "stages_from_scratch": [], "workers": 2},
    )


def test_two_workers_learn_from_drawn_defects_what_the_memory_is_made_of(plates_yaml, shared_state, capsys):
    assert main(train_model, argv=["--system", plates_yaml]) == DONE, capsys.readouterr().out
    tracker = Tracker(f"sqlite:///{shared_state / 'mlflow.db'}", shared_state / "mlartifacts", "tiny")
    package = shared_state / "systems/tiny/packages" / alias_version(tracker, CHAMPION).package_sha
    lineage = json.loads((package / "lineage.json").read_text())
    (finished,) = shared_state.glob("systems/tiny/stages/pretrain/*/stage.json")
    pretrained = finished.parent
    assert (lineage["weights"]["origin"], lineage["stages"]["pretrain"]) == ("drawn_defects", pretrained.name)
    assert len(json.loads((pretrained / "history.json").read_text())) == 3
    assert json.loads((pretrained / "fit.json").read_text())["resources"]["workers"] == 2
    with (
        safe_open(package / "model.safetensors", "pt") as tensors,
        safe_open(pretrained / "backbone.safetensors", "pt") as learnt,
    ):
        names = {name.removeprefix("network.backbone.") for name in tensors.keys() if "backbone" in name}  # noqa: SIM118
        assert names == set(learnt.keys())
        assert not any(name.startswith("layer3") for name in names)
        first = "layer1.0.conv1.weight"
        assert (tensors.get_tensor(f"network.backbone.{first}") == learnt.get_tensor(first)).all()
