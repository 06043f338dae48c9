"""A start from another system's champion: its backbone, unless it has learned from images that this training is judged by."""

import json
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml
from pydantic import ValidationError

import tasks.training.other_system
import tasks.training.pretrain
from configs.load import load_system
from configs.paths import StatePaths
from tasks.run import Run
from tasks.training.other_system import OtherStart, other_start, refuse_unfit_start
from tasks.training.pretrain import Start, starting_weights
from tasks.training.start import ChampionStart
from vision.errors import UserError
from vision.package import MANIFEST

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

    def made(train=(), test=(), began=None, system="leaves", sha="p1", weights=(), model=()):
        table = run.state.stage(system, "split", "k") / "splits.parquet"
        table.parent.mkdir(parents=True, exist_ok=True)
        rows = [(one, "train") for one in train] + [(one, "test") for one in test]
        pd.DataFrame(rows, columns=["sha256", "split"]).to_parquet(table)
        folder = run.state.package(system, sha)
        folder.mkdir(parents=True)
        weights = {"origin": "random", "package_sha": began, "sha256": None} | dict(weights)
        lineage = {"system": system, "stages": {"split": "k"}, "split_sha": "s", "weights": weights}
        (folder / "lineage.json").write_text(json.dumps(lineage))
        (folder / MANIFEST).write_text(json.dumps({"files": {"model.safetensors": f"weights of {sha}"}}))
        network = run.config.model.model_dump(mode="json") | dict(model)
        (folder / "config.yaml").write_text(yaml.safe_dump({"model": network}))
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


def test_one_that_began_with_a_file_is_followed_to_the_package_that_the_file_is_of(run, cache, champion):
    champion(train=["x"], weights={"origin": "file", "sha256": "weights of p0"})
    with pytest.raises(UserError, match=r"began with a file .* that no package here has"):
        other_start(run, cache)
    champion(train=["t"], system="older", sha="p0")
    champion(train=["x"], sha="p2", weights={"origin": "file", "sha256": "weights of p0"})
    with pytest.raises(UserError, match="1 of the 2 images"):
        other_start(run, cache)


def test_a_training_that_goes_on_from_its_own_champion_is_held_to_what_that_one_began_with(
    run, cache, champion, monkeypatch
):
    """Its own images are no matter: they stay in their splits."""
    champion(train=["t"], system="older", sha="p0")
    own = champion(train=["t"], system="quickstart", sha="p1", began="p0")
    going_on = ChampionStart(1, own / "model.safetensors", same_labels=True)
    monkeypatch.setattr(tasks.training.pretrain, "champion_start", lambda *_: going_on)
    with pytest.raises(UserError, match="1 of the 2 images"):
        starting_weights(run, None, cache)
    table = run.state.stage("older", "split", "k") / "splits.parquet"
    pd.DataFrame([("y", "train")], columns=["sha256", "split"]).to_parquet(table)
    assert starting_weights(run, None, cache) == Start(champion=going_on)


def test_a_system_without_a_champion_is_named_with_what_to_do_before_anything_runs(run, monkeypatch):
    monkeypatch.setattr(tasks.training.other_system, "open_champion", lambda _: None)
    with pytest.raises(UserError, match=r"(?s)leaves, which has no champion .*make train SYSTEM=leaves"):
        refuse_unfit_start(run)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {"arch": "resnet50"}),
        ({}, {"stem": "cifar"}),
        ({"arch": "ssdlite320_mobilenet_v3_large"}, {"arch": "ssdlite320_mobilenet_v3_large", "weights": "imagenet"}),
    ],
)
def test_so_is_one_whose_backbone_is_another(run, champion, ours, theirs):
    """Of the last pair, the one that was made for ImageNet's weights is twice as wide at its end."""
    run = run.model_copy(
        update={"config": run.config.model_copy(update={"model": run.config.model.model_copy(update=ours)})}
    )
    champion(train=["x"], model=theirs)
    with pytest.raises(UserError, match=r"(?s)champion's backbone is .*model\.arch"):
        refuse_unfit_start(run)


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
