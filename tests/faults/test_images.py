"""Odd and broken image files: the readable ones become what they show, the others are named, nothing goes missing."""

import os
import subprocess
import sys

import numpy as np
import pytest
from image_folders import splits_of, take
from odd_images import (
    READABLE,
    SIDES_PX,
    TURNS,
    UNREADABLE,
    black_png,
    picture,
    turned,
    write,
    write_class,
)
from PIL import Image

from vision.package import InputSpec
from vision.preprocess import decode

SPEC = InputSpec(side_px=24, resize_px=28)
NAMED = "the row with its error, in no split; the other images as they are"


@pytest.fixture
def shelf(tmp_path):
    """A folder of two classes with three sound images each."""
    for start, label in ((0, "leaf"), (100, "stone")):
        write_class(tmp_path / "shelf" / label, 3, start)
    return tmp_path / "shelf"


@pytest.mark.parametrize("name", [name for name in UNREADABLE if name != "bomb.png"])
def test_an_image_that_cannot_be_read_is_a_row_with_its_error(name, shelf, tmp_path, fault):
    write(shelf / "leaf" / name, UNREADABLE[name](7))
    rows = splits_of(shelf, tmp_path / "out").set_index("path")
    row = rows.loc[f"images/leaf/{name}"]
    assert row["error"] and row["split"] is None
    assert rows.drop(index=row.name)["split"].notna().all() and len(rows) == 7
    fault.saw(
        "Images",
        name.partition(".")[0].replace("text", "a text file named .jpg"),
        exit="–",
        says=row["error"],
        kept=NAMED,
    )


@pytest.mark.parametrize("name", READABLE)
def test_an_odd_image_that_can_be_read_is_taken_as_what_it_shows(name, shelf, tmp_path, fault):
    data = READABLE[name](7)
    write(shelf / "leaf" / name, data)
    rows = splits_of(shelf, tmp_path / "out").set_index("path")
    row = rows.loc[f"images/leaf/{name}"]
    assert row["error"] is None and row["split"] in ("train", "val", "test")
    shown, upright = np.asarray(decode(data)).astype(int), picture(7)
    if name in ("16-bit.png", "grey.jpg"):
        upright = upright.convert("L").convert("RGB")
    opaque = np.ones(shown.shape[:2], bool)
    if name.startswith("palette"):
        opaque = np.asarray(Image.open(shelf / "leaf" / name).convert("RGBA"))[..., 3] == 255
        assert 0 < (~opaque).sum() < opaque.size and (shown[~opaque] == 255).all()
    difference = np.abs(shown - np.asarray(upright).astype(int))[opaque]
    assert shown.shape == (SIDES_PX[1], SIDES_PX[0], 3) and difference.mean() < 12
    also = ", the first of 3 frames" if row["frames"] == 3 else ", its clear parts white" if "palette" in name else ""
    kept = f"RGB of 8 bits{also}: within {int(np.ceil(difference.mean()))} of 255 of the drawn picture"
    fault.saw("Images", name.partition(".")[0], exit="–", says="nothing", kept=kept)


def test_a_turned_photo_is_the_upright_one_in_all_eight_orientations(shelf, tmp_path, fault):
    upright = np.asarray(picture(7))
    for orientation in TURNS:
        write(shelf / "leaf" / f"turned {orientation}.png", turned(7, orientation))
        photo = np.asarray(decode(turned(7, orientation, "JPEG", quality=95, subsampling=0))).astype(int)
        assert np.abs(photo - upright).mean() < 4, orientation
        assert np.array_equal(np.asarray(decode(turned(7, orientation))), upright), orientation
    rows = splits_of(shelf, tmp_path / "out").set_index("path")
    rows = rows.loc[[f"images/leaf/turned {orientation}.png" for orientation in TURNS]]
    assert rows["exif_orientation"].tolist() == list(TURNS)
    same = rows.drop(columns=["sha256", "exif_orientation", "file_bytes"]).nunique()
    assert (same <= 1).all() and rows["split"].notna().all()
    kept = "equal pixels, equal features, one family in one split"
    fault.saw("Images", "a photo with EXIF orientation 1 to 8", exit="–", says="nothing", kept=kept)


MEASURE = """
import resource, sys
from pathlib import Path
from vision.data.manifest import describe_files, list_images
root = Path(sys.argv[1])
describe_files(root, list_images(root).iloc[1:])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
row = describe_files(root, list_images(root).iloc[:1]).iloc[0]
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, row["error"], sep="|")
"""


@pytest.mark.parametrize(
    ("given", "data", "limit_mib"),
    [
        ("a whole PNG of 100 megapixels", lambda: black_png(10_000), 8),
        ("a file of half a gigabyte named .jpg", None, 8),
    ],
)
def test_a_bomb_takes_no_memory(given, data, limit_mib, shelf, tmp_path, fault):
    bomb = shelf / "leaf" / "000.jpg"
    bomb.write_bytes(data() if data else b"")
    if data is None:
        os.truncate(bomb, 5 * 10**8)
        take_in = shelf.rename(shelf.with_name("images")).parent
    else:
        take(shelf, tmp_path / "out")
        take_in = tmp_path / "out"
    run = [sys.executable, "-W", "ignore", "-c", MEASURE, str(take_in)]
    said = subprocess.run(run, capture_output=True, text=True, check=True, timeout=120).stdout.strip()
    grown_kib, error = said.split("|", 1)
    assert int(grown_kib) < limit_mib * 1024, said
    assert error.startswith(("too_many_pixels", "too_many_bytes"))
    fault.saw("Images", given, exit="–", says=error, kept=f"{NAMED}; memory grows by less than {limit_mib} megabytes")
