"""From a config to a folder that holds exactly that data set, and clear words where it can't be."""

import errno
import resource
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vision.data.config import DataConfig
from vision.data.manifest import list_images
from vision.data.sources import materialise
from vision.errors import UserError


def write(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """`shelf/set/{a,b,c}` with 3, 2 and 2 images."""
    for label, count in (("b", 2), ("a", 3), ("c", 2)):
        for number in range(count):
            write(tmp_path / "shelf" / "set" / label / f"{number}.png", seed=ord(label) * 10 + number)
    return tmp_path / "shelf"


def folder(**fields) -> DataConfig:
    groups = fields.pop("groups", None)
    return DataConfig.model_validate({"source": {"type": "folder", "path": "set", "groups": groups}, **fields})


def held(out: Path) -> set[str]:
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if not path.is_dir()}


def test_a_folder_becomes_exactly_its_images(shelf, tmp_path):
    write(shelf / "set" / "a" / "UPPER.JPG")
    (shelf / "set" / "a" / ".hidden.png").write_bytes(b"x")
    (shelf / "set" / "a" / "notes.txt").write_text("x")
    (shelf / "set" / "empty").mkdir()
    made = materialise(folder(), tmp_path / "out", shelf)
    assert made.labels == ("a", "b", "c")
    assert made.counts == {"a": 4, "b": 2, "c": 2}
    assert held(tmp_path / "out") == {
        *(f"images/a/{name}" for name in ("0.png", "1.png", "2.png", "UPPER.JPG")),
        *(f"images/{label}/{number}.png" for label in "bc" for number in range(2)),
    }


def test_a_second_call_adds_replaces_and_removes(shelf, tmp_path):
    out = tmp_path / "out"
    materialise(folder(), out, shelf)
    kept = (out / "images/a/1.png").stat().st_mtime_ns
    (shelf / "set/a/0.png").unlink()
    write(shelf / "set/b/0.png", seed=99)
    write(shelf / "set/b/9.png", seed=98)
    shutil.rmtree(shelf / "set/c")
    (out / "images/a/stray.png").write_bytes(b"left by a killed call")
    (out / "images/b/1.png").write_bytes(b"damaged")
    materialise(folder(), out, shelf)
    assert held(out) == {f"images/{name}.png" for name in ("a/1", "a/2", "b/0", "b/1", "b/9")}
    assert (out / "images/b/0.png").read_bytes() == (shelf / "set/b/0.png").read_bytes()
    assert (out / "images/b/1.png").read_bytes() == (shelf / "set/b/1.png").read_bytes()
    assert (out / "images/a/1.png").stat().st_mtime_ns == kept
    assert not (out / "images/c").exists()


def test_a_call_killed_between_files_is_mended_by_the_next(shelf, tmp_path):
    out = tmp_path / "out"

    def kill(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        materialise(folder(), out, shelf, on_progress=kill)
    assert 0 < len(held(out)) < 7
    materialise(folder(), out, shelf)
    assert len(held(out)) == 7
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_files_are_copied_not_linked(shelf, tmp_path):
    materialise(folder(), tmp_path / "out", shelf)
    copy, source = tmp_path / "out/images/a/0.png", shelf / "set/a/0.png"
    assert not copy.is_symlink()
    assert copy.stat().st_ino != source.stat().st_ino


def test_listed_classes_come_in_the_order_of_the_list(shelf, tmp_path):
    assert materialise(folder(classes=["c", "a"]), tmp_path / "out", shelf).labels == ("c", "a")
    assert not (tmp_path / "out/images/b").exists()


def test_top_k_takes_the_largest_classes_and_breaks_ties_by_name(shelf, tmp_path):
    assert materialise(folder(top_k=2), tmp_path / "out", shelf).labels == ("a", "b")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"classes": ["a", "zebra"]}, ("zebra", "a, b, c")),
        ({"top_k": 9}, ("9", "a, b, c")),
    ],
)
def test_classes_that_are_not_there_are_named_with_those_that_are(shelf, tmp_path, fields, words):
    with pytest.raises(UserError) as caught:
        materialise(folder(**fields), tmp_path / "out", shelf)
    assert all(word in str(caught.value) for word in words)
    assert not (tmp_path / "out").exists()


def test_one_class_only_an_empty_folder_and_a_missing_one_are_refused(shelf, tmp_path):
    shutil.rmtree(shelf / "set/b")
    shutil.rmtree(shelf / "set/c")
    with pytest.raises(UserError, match="one class only, a"):
        materialise(folder(), tmp_path / "out", shelf)
    shutil.rmtree(shelf / "set/a")
    with pytest.raises(UserError, match="no image"):
        materialise(folder(), tmp_path / "out", shelf)
    (shelf / "set").rmdir()
    with pytest.raises(UserError, match="no such folder"):
        materialise(folder(), tmp_path / "out", shelf)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["set/a/link.png", "set/linked"])
def test_a_link_out_of_the_folder_is_refused(shelf, tmp_path, place):
    write(tmp_path / "secret" / "x.png")
    (shelf / place).symlink_to(tmp_path / "secret" / ("x.png" if place.endswith("png") else ""))
    with pytest.raises(UserError, match="leads out of the folder"):
        materialise(folder(), tmp_path / "out", shelf)


def table(shelf: Path, keys: dict[str, str]) -> None:
    pd.DataFrame({"file": list(keys), "source_path": list(keys.values())}).to_csv(
        shelf / "set/manifest.csv", index=False
    )


def groups_of(out: Path) -> dict[str, str]:
    listing = list_images(out)
    return dict(zip(listing["path"].str.removeprefix("images/"), listing["group"], strict=True))


def test_named_groups_are_written_beside_the_images(shelf, tmp_path):
    table(shelf, {"a/0.png": "plant7_x", "a/1.png": "plant8_y", "b/0.png": "plant7_z"})
    materialise(folder(groups={"pattern": "(plant[0-9]+)"}), tmp_path / "out", shelf)
    groups = groups_of(tmp_path / "out")
    assert groups["a/0.png"] == groups["b/0.png"] == "plant7"
    assert groups["a/1.png"] == "plant8"
    assert groups["c/0.png"] is None


def test_shots_in_a_row_of_one_label_and_series_are_one_group(shelf, tmp_path):
    table(
        shelf,
        {
            "a/0.png": "s1 10",
            "a/1.png": "s1 12",
            "a/2.png": "s1 15",
            "b/0.png": "s1 11",
            "c/0.png": "s1 1",
            "c/1.png": "s2 2",
        },
    )
    materialise(folder(groups={"pattern": r"(.*) (\d+)$", "run_gap": 2}), tmp_path / "out", shelf)
    groups = groups_of(tmp_path / "out")
    assert groups["a/0.png"] == groups["a/1.png"] != groups["a/2.png"]
    assert groups["b/0.png"] != groups["a/0.png"]
    assert groups["c/0.png"] != groups["c/1.png"]


@pytest.mark.parametrize(
    "groups",
    [{"table": "no.csv"}, {"key_column": "no"}, {"pattern": "(nothing like it)"}, {"run_gap": 2, "pattern": "(s)"}],
)
def test_a_group_table_that_does_not_fit_is_refused(shelf, tmp_path, groups):
    table(shelf, {"a/0.png": "s1 10"})
    with pytest.raises(UserError):
        materialise(folder(groups=groups), tmp_path / "out", shelf)
    assert not (tmp_path / "out").exists()


def test_drawn_leaves_come_with_their_masks(tmp_path):
    source = {"type": "drawn", "images_per_class": 1, "side_px": 32}
    made = materialise(DataConfig.model_validate({"source": source}), tmp_path / "out", None)
    assert set(made.counts.values()) == {1}
    images, masks = (
        sorted(
            path.relative_to(tmp_path / "out" / kind).with_suffix("") for path in (tmp_path / "out" / kind).glob("*/*")
        )
        for kind in ("images", "masks")
    )
    assert images == masks


def test_a_disk_that_takes_no_more_is_no_fault_of_the_image(shelf, tmp_path):
    with (shelf / "set" / "a" / "0.png").open("ab") as file:
        file.write(bytes(50_000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(OSError) as raised:
            materialise(folder(), tmp_path / "out", shelf)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert raised.value.errno == errno.EFBIG
