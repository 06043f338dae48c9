import json
import os

import pytest

from configs.load import load_system
from configs.paths import StatePaths
from tasks.run import Run
from tasks.stages import StageResult
from tasks.training.compare import comparison_key, contenders, known_comparison
from vision.errors import UserError


def run_of(tmp_path, **overrides):
    config = load_system("quickstart", overrides)
    return Run.model_construct(config=config, config_sha="", state=StatePaths(tmp_path))


def test_contenders_differ_in_nothing_but_architecture_and_seed(tmp_path):
    run = run_of(tmp_path, compare={"archs": ["resnet18", "efficientnet_b0"], "seeds": [42, 7]})
    found = contenders(run)
    asked = [(one.config.model.arch, one.config.training.seed) for one in found]
    assert asked == [("resnet18", 42), ("resnet18", 7), ("efficientnet_b0", 42), ("efficientnet_b0", 7)]
    assert found[0].config == run.config and len({one.config_sha for one in found}) == 4
    model, training = found[3].config.model, found[3].config.training
    assert model.model_copy(update={"arch": "resnet18"}) == run.config.model
    assert training.model_copy(update={"seed": 42}) == run.config.training


@pytest.mark.parametrize("compare", [{"archs": ["resnet18"]}, {"archs": ["resnet18", "resnet18"]}, {"seeds": []}])
def test_a_comparison_of_one_or_of_twins_is_refused(tmp_path, compare):
    with pytest.raises(UserError, match="compare"):
        run_of(tmp_path, compare=compare)


def test_weights_of_one_architecture_are_refused_and_that_is_said_before_anything_trains(tmp_path):
    own = {"model.weights": "file", "model.file": "mine.safetensors", "model.arch": "resnet18"}
    run = run_of(tmp_path, **own, compare={"archs": ["resnet18", "efficientnet_b0"], "seeds": [42]})
    with pytest.raises(UserError, match=r"(?s)those of one architecture.*model\.weights=random model\.file=null"):
        contenders(run)


def test_the_last_comparison_on_the_same_images_is_known_and_no_other(tmp_path):
    run = run_of(tmp_path)
    for at, (key, cache) in enumerate([("old", "mine"), ("new", "mine"), ("newest", "others")]):
        folder = run.stages / "compare" / key
        folder.mkdir(parents=True)
        (folder / "stage.json").write_text(json.dumps({"key": key, "inputs": {"cache": cache}, "made": {"part": {}}}))
        os.utime(folder / "stage.json", (at, at))
    mine, strange = (
        StageResult(stage="cache", key=key, folder=tmp_path, made={}, seconds=0.0, reused=True)
        for key in ("mine", "strange")
    )
    assert known_comparison(run, mine)["key"] == comparison_key(run, mine) == "new"
    assert comparison_key(run, strange) is None
