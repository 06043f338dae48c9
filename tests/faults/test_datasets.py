"""Data sets as they turn up: empty, lopsided, huge in classes, half unreadable, mislabelled. The contract says which."""

import shutil

import numpy as np
import pandas as pd
import pytest
from image_folders import refused, take
from odd_images import encoded, picture, write, write_class
from PIL import Image

from configs.load import load_system
from expectations.contract import check_contract
from flows.command import AGAINST, MISTAKE
from vision.data.config import SplitConfig
from vision.data.manifest import describe_files, list_images
from vision.data.splits import assign, placements
from vision.evaluation.plots import class_distribution

NOTHING = "nothing is copied, no data version"
STOPPED = "the data version, its split and the contract's page; nothing is trained"
CONTRACT = {"contract.min_images_per_class": 5, "contract.split_share_tolerance": 0.2}
SPLIT = SplitConfig(train=0.5, val=0.25, test=0.25)


@pytest.fixture
def shelf(tmp_path):
    """A folder of three classes with twelve sound images each."""
    for start, label in ((0, "leaf"), (100, "moss"), (200, "stone")):
        write_class(tmp_path / "shelf" / label, 12, start)
    return tmp_path / "shelf"


def version(shelf, out, before=None):
    """(labels, splits table) of the folder as it is now."""
    made = take(shelf, out)
    return made.labels, assign(describe_files(out, list_images(out)), SPLIT, before)


@pytest.fixture
def contract(shelf, tmp_path, tiny):
    """`contract(**more)`: what the contract says of the folder as it is, and the table that it was asked about."""

    def check(overrides=None, before=None):
        labels, splits = version(shelf, tmp_path / "out", before)
        pairs = {**CONTRACT, "data.split": SPLIT.model_dump(), **(overrides or {})}
        config = load_system(tiny(), pairs)
        return check_contract(splits, config, labels, tmp_path / "docs").verdict, splits

    return check


def told(verdict):
    return "\n".join(verdict.reasons)


def test_an_empty_folder(tmp_path, capsys, fault):
    (tmp_path / "shelf").mkdir()
    said = refused(tmp_path / "shelf", tmp_path / "out", capsys)
    assert not (tmp_path / "out").exists()
    fault.saw("Datasets", "an empty folder", exit=MISTAKE, says=said, kept=NOTHING)


def test_one_class(shelf, tmp_path, capsys, fault):
    shutil.rmtree(shelf / "moss")
    shutil.rmtree(shelf / "stone")
    said = refused(shelf, tmp_path / "out", capsys)
    assert "one class only, leaf (12 images)" in said and not (tmp_path / "out").exists()
    fault.saw("Datasets", "one class", exit=MISTAKE, says=said, kept=NOTHING)


def test_a_class_of_one_image(shelf, contract, fault):
    write(shelf / "fern" / "only.jpg", encoded(picture(900), "JPEG"))
    verdict, splits = contract()
    assert not verdict.passed and splits.loc[splits["label"] == "fern", "split"].notna().all()
    assert "images_per_class" in told(verdict) and "class_in_each_split" in told(verdict) and "fern" in told(verdict)
    fault.saw("Datasets", "a class of one image", exit=AGAINST, says=told(verdict), kept=STOPPED)


def test_thirty_per_cent_unreadable_are_told_by_count_kind_and_first_names(shelf, contract, fault):
    paths = sorted(shelf.rglob("*.jpg"))
    for path in paths[::3]:
        path.write_bytes(path.read_bytes()[:300])
    paths[0].write_bytes(b"")
    verdict, splits = contract()
    assert splits["error"].notna().sum() == 12 and splits["split"].notna().sum() == 24
    assert not verdict.passed and "12 of 36 images" in told(verdict) and "1 empty, 11 truncated" in told(verdict)
    assert len(told(verdict)) < 500 and told(verdict).count(".jpg") == 3
    fault.saw("Datasets", "a third of the images unreadable", exit=AGAINST, says=told(verdict), kept=STOPPED)


def test_a_copy_under_another_label(shelf, contract, fault):
    shutil.copyfile(shelf / "leaf" / "003.jpg", shelf / "stone" / "copy.jpg")
    verdict, splits = contract()
    pair = splits[splits["path"].isin(["images/leaf/003.jpg", "images/stone/copy.jpg"])]
    assert pair["split"].nunique() == 1 and pair["family"].nunique() == 1
    assert not verdict.passed and "leaf/003.jpg, images/stone/copy.jpg" in told(verdict)
    fault.saw("Datasets", "equal images with two labels", exit=AGAINST, says=told(verdict), kept=STOPPED)


def test_near_duplicates_in_every_class(shelf, contract, fault):
    base = picture(500)
    for number in range(6):
        label = ("leaf", "moss", "stone")[number % 3]
        write(shelf / label / f"same {number}.jpg", encoded(base, "JPEG", quality=90 + number))
    verdict, splits = contract()
    family = splits[splits["path"].str.contains("same")]
    assert len(family) == 6 and family["family"].nunique() == 1 and family["split"].nunique() == 1
    assert verdict.passed and "near_duplicate_one_label: 6 of 42 images" in verdict.warnings[0]
    says = "warning: " + verdict.warnings[0]
    fault.saw(
        "Datasets",
        "one family of near-duplicates in every class",
        exit="–",
        says=says,
        kept="the family in one split; the run goes on",
    )


def test_nothing_but_one_family(shelf, contract, fault):
    for number, path in enumerate(sorted(shelf.rglob("*.jpg"))):
        path.write_bytes(encoded(picture(500), "JPEG", quality=60 + number))
    verdict, splits = contract()
    assert splits["family"].nunique() == 1 and splits["split"].nunique() == 1
    assert not verdict.passed and "class_in_each_split: 6 of 9" in told(verdict) and "split_shares" in told(verdict)
    fault.saw("Datasets", "nothing but near-duplicates of one image", exit=AGAINST, says=told(verdict), kept=STOPPED)


def test_a_thousand_classes(tmp_path, tiny, fault):
    rng = np.random.default_rng(0)
    for number in range(3000):
        pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8).repeat(4, axis=0).repeat(4, axis=1)
        write(tmp_path / "shelf" / f"class {number // 3:03d}" / f"{number % 3}.png", encoded(Image.fromarray(pixels)))
    labels, splits = version(tmp_path / "shelf", tmp_path / "out")
    assert len(labels) == 1000 and (splits.groupby("label")["split"].nunique() == 3).all()
    pairs = {"contract.min_images_per_class": 3, "contract.split_share_tolerance": 0.3}
    verdict = check_contract(splits, load_system(tiny(), pairs), labels, tmp_path / "docs").verdict
    assert verdict.passed, verdict
    short = check_contract(
        splits, load_system(tiny(), {"contract.min_images_per_class": 4}), labels, tmp_path / "docs"
    ).verdict
    assert "images_per_class: 1000 of 1000 classes" in told(short) and len(told(short)) < 1000
    with Image.open(class_distribution(splits, tmp_path / "classes.png")) as drawn:
        assert drawn.height < 4000
    kept = "every class in every split; pictures show the 30 smallest and the 30 largest"
    fault.saw("Datasets", "1,000 classes of 3 images", exit="–", says="nothing", kept=kept)


def test_a_class_that_is_renamed_or_added_keeps_every_image_in_its_split(shelf, tmp_path, contract, fault):
    _, one = version(shelf, tmp_path / "out")
    (shelf / "stone").rename(shelf / "pebble")
    write_class(shelf / "fern", 12, 300)
    verdict, two = contract(before=placements(one))
    was, now = (table.set_index("sha256")["split"] for table in (one, two))
    assert (now[was.index] == was).all() and set(two.loc[two["label"] == "fern", "split"]) == {"train", "val", "test"}
    assert verdict.passed and set(two["label"]) == {"leaf", "moss", "pebble", "fern"}
    kept = "every image stays in its split; the new class is split as asked"
    fault.saw("Datasets", "a class renamed and one added in a new version", exit="–", says="nothing", kept=kept)


def test_an_image_that_is_removed_in_one_version_and_back_in_the_next(shelf, tmp_path, fault):
    _, one = version(shelf, tmp_path / "out")
    tested = one.loc[one["split"] == "test", "path"].str.removeprefix("images/").tolist()
    for name in tested:
        (shelf / name).rename(tmp_path / name.replace("/", "_"))
    _, two = version(shelf, tmp_path / "out", placements(one))
    assert len(two) == len(one) - len(tested)
    for name in tested:
        (tmp_path / name.replace("/", "_")).rename(shelf / name)
    _, three = version(shelf, tmp_path / "out", placements(two, placements(one)))
    pd.testing.assert_series_equal(three["split"], one["split"])
    kept = "it comes back into the split that it had: none was tested on, then trained on"
    fault.saw(
        "Datasets", "images that are removed in one version and back in the next", exit="–", says="nothing", kept=kept
    )


def test_a_new_image_that_is_near_to_two_splits(shelf, tmp_path, fault):
    """Their hashes are set: two pictures with a third that is near to both are hard to draw."""
    wide = SPLIT.model_copy(update={"near_duplicate_bits": 12})
    made = take(shelf, tmp_path / "out")
    one = assign(describe_files(tmp_path / "out", list_images(tmp_path / "out")), wide)
    first = one[one["split"] == "train"].iloc[0]
    other = one[one["split"] == "test"].iloc[0]
    table = one.drop(columns=["family", "split", "left_out"])
    base = int(first["phash"], 16)
    table.loc[other.name, "phash"] = f"{base ^ 0xFFFFF:016x}"
    bridge = table.loc[first.name].copy()
    bridge["path"], bridge["sha256"], bridge["phash"] = "images/leaf/bridge.jpg", "f" * 64, f"{base ^ 0x3FF:016x}"
    two = assign(pd.concat([table, bridge.to_frame().T], ignore_index=True), wide, placements(one)).set_index("path")
    assert two.loc["images/leaf/bridge.jpg", "split"] is None and two.loc[first["path"], "split"] == "train"
    assert two.loc[other["path"], "split"] == "test"
    config = load_system("quickstart", {**CONTRACT, "data.split": wide.model_dump()})
    two = two.astype({"blank": bool, "burnt": bool})
    verdict = check_contract(two.reset_index(), config, made.labels, tmp_path / "docs").verdict
    assert verdict.passed and "left_out: 1 of 37 images" in verdict.warnings[0]
    says = "warning: " + verdict.warnings[0]
    fault.saw(
        "Datasets",
        "a new image that is near to old ones of two splits",
        exit="–",
        says=says,
        kept="the old ones in their splits, the new one in none; the run goes on",
    )
