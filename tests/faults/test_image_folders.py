"""Names, links and changes of a folder of images: what ingest takes, what it refuses, and that nothing goes missing."""

import hashlib
import os

import pandas as pd
import pytest
from image_folders import refused, splits_of, take
from odd_images import NAMES, encoded, picture, write, write_class

from flows.command import DONE, MISTAKE, guarded
from tasks.data.datasets import add_version, get_version
from tasks.data.ingest import told
from vision.data.cache import create_cache, fill_cache
from vision.data.config import DataConfig, SplitConfig
from vision.data.manifest import describe_files, list_images, write_manifest
from vision.data.sources import materialise
from vision.data.splits import assign
from vision.package import InputSpec

SPEC = InputSpec(side_px=24, resize_px=28)


@pytest.fixture
def shelf(tmp_path):
    """A folder of two classes with three sound images each."""
    for start, label in ((0, "leaf"), (100, "stone")):
        write_class(tmp_path / "shelf" / label, 3, start)
    return tmp_path / "shelf"


@pytest.mark.parametrize("name", NAMES)
def test_any_name_comes_through_copying_versions_and_tables(name, shelf, tmp_path, fault):
    data = encoded(picture(7), "JPEG")
    write(shelf / "leaf" / name, data)
    write(shelf / name[:200] / "a.jpg", encoded(picture(8), "JPEG"))
    out, path = tmp_path / "datasets" / "odd", f"images/leaf/{name}"
    made = take(shelf, out)
    version = add_version(tmp_path / "datasets", "odd", str(tmp_path / "remote"))
    get_version(tmp_path / "datasets", "odd", version["commit"], tmp_path / "again")
    assert (tmp_path / "again" / path).read_bytes() == data
    write_manifest(describe_files(out, list_images(out)), tmp_path / "manifest.parquet")
    splits = assign(pd.read_parquet(tmp_path / "manifest.parquet"), SplitConfig())
    row = splits.set_index("path").loc[path]
    assert row["sha256"] == hashlib.sha256(data).hexdigest() and row["split"]
    assert name[:200] in made.labels and version["files"] == 8
    fill_cache(tmp_path / "cache", out, 0, create_cache(tmp_path / "cache", splits, SPEC))
    shown = name if len(name) < 100 else f"{len(name)} letters"
    fault.saw("Images", f"a name and a class: {shown!r}", exit="–", says="nothing", kept="the image, under that name")


def test_a_name_that_is_no_utf_8_is_refused(shelf, tmp_path, capsys, fault):
    write(shelf / "leaf" / os.fsdecode(b"fr\xfch.jpg"), b"x")
    said = refused(shelf, tmp_path / "out", capsys)
    assert "fr\\xfch.jpg" in said and not (tmp_path / "out").exists()
    fault.saw("Images", "a name that is no UTF-8", exit=MISTAKE, says=said, kept="nothing is copied")


@pytest.mark.parametrize(
    ("given", "place", "to"),
    [
        ("a link to a file out of the folder", "leaf/link.jpg", "../../elsewhere/x.jpg"),
        ("a class that is a link out of the folder", "linked", "../elsewhere"),
        ("a link to nothing", "leaf/link.jpg", "gone.jpg"),
        ("a link to itself", "leaf/link.jpg", "link.jpg"),
    ],
)
def test_a_link_out_of_the_folder_is_refused_not_followed_and_not_dropped(
    given, place, to, shelf, tmp_path, capsys, fault
):
    write(tmp_path / "elsewhere" / "x.jpg", encoded(picture(9), "JPEG"))
    (shelf / place).symlink_to(to)
    said = refused(shelf, tmp_path / "out", capsys)
    assert place in said and not (tmp_path / "out").exists()
    fault.saw("Images", given, exit=MISTAKE, says=said, kept="nothing is copied")


def test_a_link_within_the_folder_is_a_copy_of_its_image(shelf, tmp_path, fault):
    (shelf / "leaf" / "link.jpg").symlink_to("../leaf/000.jpg")
    rows = splits_of(shelf, tmp_path / "out").set_index("path")
    pair = rows.loc[["images/leaf/link.jpg", "images/leaf/000.jpg"]]
    assert pair["split"].nunique() == 1 and not (tmp_path / "out/images/leaf/link.jpg").is_symlink()
    fault.saw(
        "Images", "a link within the folder", exit="–", says="nothing", kept="a copy, in one split with its image"
    )


def test_what_is_no_image_by_its_name_is_left_out_and_told(shelf, tmp_path, fault):
    write(shelf / "leaf" / "notes.txt", b"x")
    write(shelf / "leaf" / "old.tiff", encoded(picture(3), "TIFF"))
    write(shelf / "leaf" / "more" / "a.jpg", encoded(picture(4), "JPEG"))
    write(shelf / "leaf" / ".hidden.jpg", b"x")
    made = take(shelf, tmp_path / "out")
    assert made.left_out == ("leaf/more", "leaf/notes.txt", "leaf/old.tiff") and made.counts["leaf"] == 3
    fault.saw(
        "Images", "a text, a TIFF and a folder beside the images", exit="–", says=told(made.left_out), kept="the images"
    )


CHANGES = {
    "an image that vanishes while the folder is copied": ("vanished", lambda leaf: (leaf / "002.jpg").unlink()),
    "an image that appears": ("appeared", lambda leaf: write(leaf / "late.jpg", b"half")),
    "an image that is rewritten before it is copied": ("was rewritten", lambda leaf: write(leaf / "002.jpg", b"half")),
    "an image that is rewritten after it was copied": ("was rewritten", lambda leaf: write(leaf / "000.jpg", b"half")),
    "an image that is replaced by one of the same size and time": (
        "was rewritten",
        lambda leaf: swap(leaf / "002.jpg"),
    ),
}


def swap(path):
    stat, other = path.stat(), path.with_name(".other")
    other.write_bytes(bytes(stat.st_size))
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize("given", CHANGES)
def test_a_folder_that_changes_while_it_is_copied_makes_no_version(given, shelf, tmp_path, capsys, fault):
    word, change = CHANGES[given]
    config = DataConfig.model_validate({"source": {"type": "folder", "path": str(shelf)}})

    def meddle(done, total):
        if done == 1:
            change(shelf / "leaf")

    code = guarded(lambda: materialise(config, tmp_path / "out", None, meddle) and DONE, verbose=False)
    said = capsys.readouterr().err.partition("error: ")[2].strip()
    assert code == MISTAKE and f"1 {word} (leaf/" in said and "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    take(shelf, tmp_path / "out")
    held = {
        p.relative_to(tmp_path / "out/images").as_posix(): p.read_bytes() for p in (tmp_path / "out").rglob("*.jpg")
    }
    assert held == {p.relative_to(shelf).as_posix(): p.read_bytes() for p in shelf.rglob("*.jpg")}
    fault.saw(
        "Images",
        given,
        exit=code,
        says=said,
        kept="no data version is made; the next run takes the folder as it is then",
    )


@pytest.mark.parametrize("data", [b"half", encoded(picture(5), "JPEG")], ids=["cut", "another"])
def test_an_image_that_is_no_longer_what_was_described_never_gets_into_the_cache(data, shelf, tmp_path, capsys, fault):
    splits = splits_of(shelf, tmp_path / "out")
    count = create_cache(tmp_path / "cache", splits, SPEC)
    write(tmp_path / "out/images/leaf/001.jpg", data)
    code = guarded(lambda: fill_cache(tmp_path / "cache", tmp_path / "out", 0, count), verbose=False)
    said = capsys.readouterr().err.partition("error: ")[2].strip()
    assert code == MISTAKE and "leaf/001.jpg has changed since the manifest was made" in said
    fault.saw(
        "Images",
        "a stored image rewritten before it is cached",
        exit=code,
        says=said,
        kept="no cache; the next run describes anew",
    )
