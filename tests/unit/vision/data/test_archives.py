"""Data sets from elsewhere, with everything already on disk; nothing here reaches a network."""

import hashlib
import pickle
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vision.data.config import DataConfig
from vision.data.sources import materialise
from vision.errors import UserError


def write(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(path)


def torchvision(name: str) -> DataConfig:
    return DataConfig.model_validate({"source": {"type": "torchvision", "name": name}})


@pytest.fixture
def cifar10(tmp_path, monkeypatch) -> np.ndarray:
    """torchvision's own layout, six pictures a batch; it checks md5 sums, so it is told those of these files."""
    from torchvision.datasets import CIFAR10

    folder = tmp_path / "shelf" / "cifar10" / CIFAR10.base_folder
    folder.mkdir(parents=True)

    def put(name: str, content: dict) -> tuple[str, str]:
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        return name, hashlib.md5(data).hexdigest()

    pixels = np.random.default_rng(0).integers(0, 256, (6, 3072), dtype=np.uint8)
    batch = {"data": pixels, "labels": [0, 1, 2, 0, 1, 2]}
    monkeypatch.setattr(CIFAR10, "train_list", [put("data_batch_1", batch)])
    monkeypatch.setattr(CIFAR10, "test_list", [put("test_batch", batch)])
    name, md5 = put("batches.meta", {"label_names": ["airplane", "bird", "cat"]})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": name, "key": "label_names", "md5": md5})
    return pixels


def test_cifar10_in_torchvisions_layout_becomes_png_files_without_loss(cifar10, tmp_path):
    made = materialise(torchvision("cifar10"), tmp_path / "out", tmp_path / "shelf")
    assert made.counts == {"airplane": 4, "bird": 4, "cat": 4}
    with Image.open(tmp_path / "out/images/bird/train_00001.png") as image:
        assert np.array_equal(np.asarray(image), cifar10[1].reshape(3, 32, 32).transpose(1, 2, 0))


@pytest.mark.parametrize("layout", ["{label}", "train/{label}"])
def test_a_torchvision_set_may_be_a_folder_of_classes(tmp_path, layout):
    for number, label in enumerate(("cat", "dog")):
        write(tmp_path / "shelf/cifar10" / layout.format(label=label) / "1.png", number)
    assert materialise(torchvision("cifar10"), tmp_path / "out", tmp_path / "shelf").counts == {"cat": 1, "dog": 1}


def test_train_and_test_folders_are_put_together_without_losing_a_name(tmp_path):
    for number, place in enumerate(("train/cat", "test/cat", "train/dog")):
        write(tmp_path / "shelf/cifar10" / place / "1.png", number)
    assert materialise(torchvision("cifar10"), tmp_path / "out", tmp_path / "shelf").counts == {"cat": 2, "dog": 1}
    files = {p.relative_to(tmp_path / "out/images").as_posix() for p in (tmp_path / "out/images").glob("*/*")}
    assert files == {"cat/train_1.png", "cat/test_1.png", "dog/train_1.png"}
    assert not any(p.is_symlink() for p in (tmp_path / "out").rglob("*"))


def test_caltech101_in_torchvisions_layout_leaves_its_background_out(tmp_path):
    base = tmp_path / "shelf/caltech101/caltech101"
    for number, label in enumerate(("ketch", "watch", "BACKGROUND_Google")):
        write(base / "101_ObjectCategories" / label / "image_0001.jpg", number)
    (base / "Annotations").mkdir()
    made = materialise(torchvision("caltech101"), tmp_path / "out", tmp_path / "shelf")
    assert made.labels == ("ketch", "watch")


def test_a_set_that_is_nowhere_says_where_it_was_looked_for(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/nothing.tar.gz")
    with pytest.raises(UserError, match=r"cifar10.*download failed"):
        materialise(torchvision("cifar10"), tmp_path / "out", tmp_path / "shelf")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def archive(tmp_path) -> Path:
    for number, label in enumerate(("ok", "scratch")):
        write(tmp_path / "made/parts" / label / "1.png", number)
    (tmp_path / "shelf").mkdir()
    return Path(shutil.make_archive(str(tmp_path / "shelf/parts"), "zip", tmp_path / "made"))


def hub(**fields) -> DataConfig:
    source = {"type": "hub", "repo_id": "someone/parts", "filename": "parts.zip", "folder": "parts", **fields}
    return DataConfig.model_validate({"source": source})


def test_a_local_hub_archive_is_unpacked(archive, tmp_path):
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert materialise(hub(sha256=sha256), tmp_path / "out", archive.parent).labels == ("ok", "scratch")


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"sha256": "0" * 64}, "has sha256"), ({"folder": "nowhere"}, "no folder"), ({"folder": "../.."}, "no folder")],
)
def test_an_archive_that_is_not_what_was_said_is_refused(archive, tmp_path, fields, words):
    with pytest.raises(UserError, match=words):
        materialise(hub(**fields), tmp_path / "out", archive.parent)


def test_a_damaged_archive_is_refused(archive, tmp_path):
    archive.write_bytes(archive.read_bytes()[:200])
    with pytest.raises(UserError, match="can't be unpacked"):
        materialise(hub(), tmp_path / "out", archive.parent)


def test_a_tar_archive_is_unpacked_and_never_outside_its_folder(archive, tmp_path):
    made = Path(shutil.make_archive(str(tmp_path / "shelf/parts"), "gztar", tmp_path / "made"))
    assert materialise(hub(filename=made.name), tmp_path / "out", archive.parent).labels == ("ok", "scratch")
    with tarfile.open(tmp_path / "shelf/evil.tar", "w") as tar:
        tar.add(archive, arcname="../outside.zip")
    with pytest.raises(UserError, match="can't be unpacked"):
        materialise(hub(filename="evil.tar"), tmp_path / "out2", archive.parent)
    assert not (tmp_path / "outside.zip").exists()
