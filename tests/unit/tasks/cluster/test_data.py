"""Ray Data maps give what the plain functions give, one bad file included."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tasks.cluster.data import BATCH_IMAGES, cache_on_ray, describe_on_ray
from vision.data.boxes.annotations import ImageBoxes, write_annotations
from vision.data.boxes.geometry import Box, boxes_of, has_boxes
from vision.data.cache import ImageCache, create_cache, fill_cache
from vision.data.config import SplitConfig
from vision.data.manifest import describe_files, list_images
from vision.data.splits import assign
from vision.errors import UserError
from vision.package import InputSpec

pytestmark = pytest.mark.slow
SPEC = InputSpec(side_px=24, resize_px=32)
IMAGES = BATCH_IMAGES + 9


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        path = tmp_path / "root/images" / "ab"[number % 2] / f"{number:03d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        small.resize((40, 50), Image.Resampling.BICUBIC).save(path)
    path.write_bytes(path.read_bytes()[:200])
    _annotate(tmp_path / "root")
    return tmp_path / "root"


def _annotate(root: Path) -> None:
    """No box on the first 64 images, which are one batch; then one, two, or a defect that nobody placed, in turn."""
    boxes = [(Box("pit", 1, 2, 3.5, 4),), (Box("pit", 1, 2, 3, 4), Box("dent", 5, 6, 7, 8)), None]
    images = [
        ImageBoxes(path.relative_to(root).as_posix(), path.parent.name, boxes[no % 3] if no >= BATCH_IMAGES else ())
        for no, path in enumerate(sorted(root.glob("images/*/*")))
    ]
    write_annotations(images, ("a", "b"), ("dent", "pit"), root / "annotations.json")


def test_ray_describes_and_caches_as_the_plain_functions_do(ray, root, tmp_path, capfd):
    seen = []
    out = tmp_path / "manifest.parquet"
    describe_on_ray(root, out, lambda done, total: seen.append((done, total)))
    got = pd.read_parquet(out)
    wanted = describe_files(root, list_images(root))
    pd.testing.assert_frame_equal(got.drop(columns="boxes"), wanted.drop(columns="boxes"), check_dtype=False)
    for name in (has_boxes, boxes_of):
        assert got["boxes"].map(name).tolist() == wanted["boxes"].map(name).tolist()
    assert got["boxes"].isna().sum() == 3
    assert got["error"].notna().sum() == 1
    assert seen[-1] == (IMAGES, IMAGES)
    assert len(seen) > 1
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []

    splits = assign(got, SplitConfig(), None)
    splits.to_parquet(tmp_path / "splits.parquet")
    cache_on_ray(
        root, tmp_path / "splits.parquet", SPEC, tmp_path / "cache", lambda done, total: seen.append((done, total))
    )
    assert seen[-1] == (IMAGES - 1, IMAGES - 1)
    count = create_cache(tmp_path / "plain", splits, SPEC)
    fill_cache(tmp_path / "plain", root, 0, count)
    assert np.array_equal(ImageCache.open(tmp_path / "cache").images, ImageCache.open(tmp_path / "plain").images)
    assert capfd.readouterr().err == ""


def test_a_users_mistake_on_a_worker_arrives_as_it_was_raised(ray, root, tmp_path, capfd):
    splits = assign(describe_files(root, list_images(root)), SplitConfig(), None)
    splits.to_parquet(tmp_path / "splits.parquet")
    (root / "images/a/000.jpg").unlink()
    with pytest.raises(UserError, match="has changed since"):
        cache_on_ray(root, tmp_path / "splits.parquet", SPEC, tmp_path / "cache")
    assert capfd.readouterr().err == ""
