"""The manifest of a folder and the image cache made from it."""

import errno
import resource
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vision.data.cache import ImageCache, create_cache, fill_cache
from vision.data.config import SplitConfig
from vision.data.manifest import COLUMNS, describe_files, join_manifests, list_images, write_manifest
from vision.data.splits import assign
from vision.errors import UserError
from vision.package import InputSpec
from vision.preprocess import centre_crop, preprocess

SPEC = InputSpec(side_px=24, resize_px=33)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for label in ("a", "b"):
        folder = tmp_path / "root/images" / label
        folder.mkdir(parents=True)
        for number in range(6):
            small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
            small.resize((40 + 9 * number, 50), Image.Resampling.BICUBIC).save(folder / f"{number}.jpg")
    (tmp_path / "root/images/a/2.jpg").write_bytes((tmp_path / "root/images/a/2.jpg").read_bytes()[:300])
    (tmp_path / "root/groups.csv").write_text("path,group\nimages/b/1.jpg,plant\nimages/b/2.jpg,plant\n")
    return tmp_path / "root"


def splits_of(root: Path) -> pd.DataFrame:
    return assign(describe_files(root, list_images(root)), SplitConfig(), None)


def test_a_manifest_has_every_file_and_the_bad_one_with_its_error(root, tmp_path):
    rows = describe_files(root, list_images(root))
    assert tuple(rows.columns) == COLUMNS
    assert rows["path"].is_monotonic_increasing
    assert len(rows) == 12
    assert rows.loc[rows["error"].notna(), "path"].tolist() == ["images/a/2.jpg"]
    assert rows.loc[rows["group"].notna(), "path"].tolist() == ["images/b/1.jpg", "images/b/2.jpg"]
    write_manifest(rows, tmp_path / "m.parquet")
    back = pd.read_parquet(tmp_path / "m.parquet")
    assert back["group"].isna().sum() == 10
    assert back["group"].dropna().unique().tolist() == ["plant"]
    pd.testing.assert_series_equal(back["noise"], rows["noise"])


def test_a_manifest_keeps_its_types_when_nothing_is_wrong(root, tmp_path):
    write_manifest(describe_files(root, list_images(root).iloc[:1]), tmp_path / "m.parquet")
    back = pd.read_parquet(tmp_path / "m.parquet")
    assert back["error"].iloc[0] is None
    assert back["blank"].dtype == bool


def test_a_cache_holds_the_readable_images_as_preprocess_makes_them(root, tmp_path):
    splits = splits_of(root)
    count = create_cache(tmp_path / "cache", splits, SPEC)
    assert count == 11
    fill_cache(tmp_path / "cache", root, 5, count)
    fill_cache(tmp_path / "cache", root, 0, 5)
    cache = ImageCache.open(tmp_path / "cache")
    assert cache.images.shape == (11, 33, 33, 3)
    assert cache.rows["path"].tolist() == splits.loc[splits["error"].isna(), "path"].tolist()
    wanted = np.stack([preprocess((root / path).read_bytes(), SPEC) for path in cache.rows["path"]])
    assert np.array_equal(centre_crop(cache.images, SPEC), wanted)


def test_a_slice_is_filled_whichever_groups_of_rows_it_lies_in(root, tmp_path, monkeypatch):
    monkeypatch.setattr("vision.data.cache.ROWS_IN_GROUP", 4)
    count = create_cache(tmp_path / "cache", splits_of(root), SPEC)
    for start, stop in ((3, 9), (0, 3), (9, count)):
        fill_cache(tmp_path / "cache", root, start, stop)
    cache = ImageCache.open(tmp_path / "cache")
    crops = cache.crops("train")
    wanted = [preprocess((root / path).read_bytes(), SPEC) for path in cache.rows["path"].iloc[crops.indices]]
    assert len(crops) == len(wanted) and np.array_equal(crops[:], np.stack(wanted))
    assert np.array_equal(crops[np.array([2, 0])], np.stack([wanted[2], wanted[0]]))


def test_joined_parts_are_the_whole_manifest(root, tmp_path, monkeypatch):
    monkeypatch.setattr("vision.data.manifest.PARTS_AT_ONCE", 2)
    rows, parts = describe_files(root, list_images(root)), []
    for start in range(0, len(rows), 3):
        parts.append(tmp_path / f"{start}.parquet")
        write_manifest(rows.iloc[start : start + 3], parts[-1])
    join_manifests(parts, tmp_path / "joined.parquet")
    write_manifest(rows, tmp_path / "whole.parquet")
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "joined.parquet"), pd.read_parquet(tmp_path / "whole.parquet")
    )


def test_the_splits_of_a_cache_are_disjoint_and_whole(root, tmp_path):
    create_cache(tmp_path / "cache", splits_of(root), SPEC)
    cache = ImageCache.open(tmp_path / "cache")
    parts = [cache.indices(split) for split in ("train", "val", "test")]
    assert sorted(np.concatenate(parts)) == list(range(11))


def test_a_file_that_went_bad_after_the_manifest_stops_the_cache(root, tmp_path):
    count = create_cache(tmp_path / "cache", splits_of(root), SPEC)
    (root / "images/b/0.jpg").write_bytes(b"gone bad")
    with pytest.raises(UserError, match="has changed since"):
        fill_cache(tmp_path / "cache", root, 0, count)


def test_a_machine_that_can_open_no_file_is_no_fault_of_the_images(root):
    listing = list_images(root)
    with no_more_files(), pytest.raises(OSError) as raised:
        describe_files(root, listing)
    assert raised.value.errno == errno.EMFILE


@contextmanager
def no_more_files():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
