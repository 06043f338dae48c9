"""Decoded images go when nobody asked for them for days, and come back when somebody does."""

import os
import time

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from PIL import Image

from tasks.data import cache as module
from tasks.data.cache import _asked_for, cache, retire
from tasks.data.split import SPLITS
from tasks.run import open_run
from tasks.stages import StageResult
from vision.data.cache import IMAGES, ROWS, ImageCache, create_cache, fill_cache
from vision.data.manifest import describe_files, list_images
from vision.stage_files import finished

DAY_S = 86400


def asked_for(folder, days_ago):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / IMAGES).touch()
    at = time.time() - days_ago * DAY_S
    os.utime(folder / IMAGES, (at, at))


def test_arrays_that_nobody_asked_for_in_so_many_days_are_removed_and_nothing_else(tmp_path):
    for name, days_ago in (("old", 8), ("young", 6), ("busy", 9)):
        asked_for(tmp_path / name, days_ago)
        (tmp_path / name / "stage.json").write_text("{}")
    with FileLock(tmp_path / "busy.lock"):
        assert retire(tmp_path, 7) == ["old"]
    assert {path.parent.name for path in tmp_path.glob(f"*/{IMAGES}")} == {"young", "busy"}
    assert (tmp_path / "old" / "stage.json").is_file()
    assert retire(tmp_path / "none yet", 7) == []


def test_an_array_that_is_gone_is_not_made_empty_by_asking_for_it(tmp_path):
    asked_for(tmp_path / "old", 8)
    assert _asked_for(tmp_path / "old" / IMAGES) and retire(tmp_path, 7) == []
    assert not _asked_for(tmp_path / "gone" / IMAGES) and not (tmp_path / "gone").exists()


@pytest.fixture
def split_of(tmp_path, monkeypatch):
    """Makes a split of drawn images; without Ray, which tests/integration has."""

    def alone(root, splits, spec, folder, bar):
        fill_cache(folder, root, 0, create_cache(folder, pd.read_parquet(splits), spec))

    monkeypatch.setattr("tasks.cluster.data.cache_on_ray", alone)
    monkeypatch.setattr(module, "ensure_ray", lambda address: None)

    def make(run, number):
        for label in ("a", "b"):
            path = run.dataset_folder / "images" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((80, 80, 3), 40 * number, np.uint8)).save(path)
        folder = tmp_path / f"split{number}"
        folder.mkdir(exist_ok=True)
        rows = describe_files(run.dataset_folder, list_images(run.dataset_folder))
        rows.assign(split="train", family=rows["path"]).to_parquet(folder / SPLITS)
        return StageResult(
            stage="split", key="k", folder=folder, made={"split_sha": str(number)}, seconds=0, reused=False
        )

    return make


def test_a_cache_that_was_removed_is_made_again_the_same_and_one_in_use_stays(tmp_path, monkeypatch, tiny, split_of):
    monkeypatch.setenv("VISIONOPS_STATE", str(tmp_path / "state"))
    run = open_run(tiny(), {}, registry=False)
    first_split = split_of(run, 1)
    first = cache.__wrapped__(run, first_split)
    pixels = np.array(ImageCache.open(first.folder).images)
    asked_for(first.folder, 8)
    assert cache.__wrapped__(run, first_split).reused  # asked for now: young again
    second_split = split_of(run, 2)
    second = cache.__wrapped__(run, second_split)
    assert (first.folder / IMAGES).is_file()
    asked_for(first.folder, 8)
    assert cache.__wrapped__(run, second_split).reused
    assert not (first.folder / IMAGES).exists() and (first.folder / ROWS).is_file()
    # Who learned from what is still told.
    assert {stage["key"] for stage in finished(run.stages / "cache")} == {first.key, second.key}
    again = cache.__wrapped__(run, first_split)
    assert not again.reused and again.key == first.key
    assert np.array_equal(ImageCache.open(again.folder).images, pixels)
