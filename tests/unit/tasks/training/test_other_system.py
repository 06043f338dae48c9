"""A start from another system's champion: its backbone, unless it has learned from images that this training is judged by."""

import json
from types import SimpleNamespace

import pandas as pd
import pytest
from pydantic import ValidationError

import tasks.training.other_system
import tasks.training.pretrain
from configs.load import load_system
from configs.paths import StatePaths
from tasks.run import Run
from tasks.training.other_system import OtherStart, other_start
from tasks.training.pretrain import Start, starting_weights
from vision.errors import UserError

FROM = {"model.weights": "system", "model.system": "leaves"}
JUDGED = {"v": "val", "t": "test"}


@pytest.fixture
def run(tmp_path):
    config = load_system("quickstart", FROM)
    return Run.model_construct(config=config, state=StatePaths(tmp_path), window=None)


@pytest.fixture
def cache(tmp_path):
    """One training image, and those that the model is judged by."""
    rows = pd.DataFrame([(f"images/{sha}.png", sha, split) for sha, split in {"a": "train", **JUDGED}.items()])
    rows.columns = ["path", "sha256", "split"]
    rows.to_parquet(tmp_path / "rows.parquet")
    return SimpleNamespace(folder=tmp_path)


@pytest.fixture
def champion(run, monkeypatch):
    """The package of `leaves`: given the images that it learned from and was tested on, and what it began with."""

    def made(train=(), test=(), began=None, system="leaves", sha="p1"):
        table = run.state.stage(system, "split", "k") / "splits.parquet"
        table.parent.mkdir(parents=True)
        rows = [(one, "train") for one in train] + [(one, "test") for one in test]
        pd.DataFrame(rows, columns=["sha256", "split"]).to_parquet(table)
        folder = run.state.package(system, sha)
        folder.mkdir(parents=True)
        lineage = {"system": system, "stages": {"split": "k"}, "split_sha": "s", "weights": {"package_sha": began}}
        (folder / "lineage.json").write_text(json.dumps(lineage))
        found = SimpleNamespace(version=3, package=SimpleNamespace(folder=folder))
        monkeypatch.setattr(
            tasks.training.other_system, "open_champion", lambda asked: asked.config.system == "leaves" and found
        )
        return folder

    return made


def test_it_starts_with_the_backbone_of_a_champion_that_knows_none_of_the_images_it_is_judged_by(run, cache, champion):
    folder = champion(train=["a", "x"], test=["t"])
    assert other_start(run, cache) == OtherStart("leaves", 3, folder / "model.safetensors")


@pytest.mark.parametrize("known", JUDGED)
def test_one_that_learned_from_an_image_that_this_one_is_judged_by_is_refused(run, cache, champion, known):
    champion(train=["x", known])
    with pytest.raises(UserError, match=rf"1 of the 2 images .* images/{known}\.png"):
        other_start(run, cache)


def test_so_is_one_that_began_with_a_model_that_did(run, cache, champion):
    champion(train=["t"], system="older", sha="p0")
    champion(train=["x"], began="p0")
    with pytest.raises(UserError, match="1 of the 2 images"):
        other_start(run, cache)


def test_where_it_can_not_be_told_any_more_that_is_said(run, cache, champion):
    champion(train=["x"], began="p0")
    with pytest.raises(UserError, match="began with package p0, which is gone"):
        other_start(run, cache)
    (run.state.stage("leaves", "split", "k") / "splits.parquet").unlink()
    with pytest.raises(UserError, match=r"(?s)split s, which it was trained by, is gone.*model\.file"):
        other_start(run, cache)


def test_a_system_without_a_champion_is_named_with_what_to_do(run, cache, monkeypatch):
    monkeypatch.setattr(tasks.training.other_system, "open_champion", lambda _: None)
    with pytest.raises(UserError, match=r"(?s)leaves, which has no champion .*make train SYSTEM=leaves"):
        other_start(run, cache)


def test_a_training_that_asks_for_none_begins_as_its_weights_say(run, cache, champion, monkeypatch):
    assert starting_weights(run.model_copy(update={"config": load_system("quickstart")}), None, cache) == Start()
    folder = champion(train=["x"])
    assert starting_weights(run, None, cache).backbone == folder / "model.safetensors"


@pytest.mark.parametrize(
    "wrong",
    [
        {"model.weights": "system"},
        {"model.system": "leaves"},
        {"model.weights": "system", "model.system": "quickstart"},
    ],
)
def test_a_config_names_another_system_exactly_where_it_starts_from_one(wrong):
    with pytest.raises((UserError, ValidationError), match=r"given exactly when|another system"):
        load_system("quickstart", wrong)
