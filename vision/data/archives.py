"""Data sets from elsewhere: torchvision's, and archives on the Hugging Face hub. A local copy is always tried first."""

import hashlib
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from vision.data.config import HubSource, TorchvisionSource
from vision.data.folders import Classes, scan_classes
from vision.errors import UserError

HUB_URL = "https://huggingface.co/datasets/{repo_id}/resolve/{revision}/{filename}"
NOT_A_CLASS = "BACKGROUND_Google"
"""Caltech-101's folder of unrelated pictures."""


def torchvision_classes(source: TorchvisionSource, data_root: Path | None, staging: Path) -> Classes:
    """Classes of a torchvision data set: all its own splits together, since VisionOps splits by family itself.

    VISIONOPS_DATA/<name> may be a folder of classes, `train/` and `test/` with classes, or torchvision's own layout.
    Else it is downloaded there (without VISIONOPS_DATA: into `staging`). CIFAR-10 becomes PNG files in `staging`; of
    the others the files themselves are taken.
    """
    local = None if data_root is None else data_root / source.name
    if local is not None and local.is_dir() and (found := _class_folders(local, staging)):
        return found
    folder = staging / "downloaded" if local is None else local
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return _EXPORTS[source.name](folder, staging)
    except (
        OSError,
        RuntimeError,
    ) as error:  # URLError is an OSError; damaged files: RuntimeError
        raise UserError(
            f"data set {source.name} is not complete in {folder}, and its download failed ({error})",
            f"{source.name}/<class>/<image>, or torchvision's own files, under VISIONOPS_DATA; or a network",
            f"put the data set at VISIONOPS_DATA/{source.name}, or run where the network can be reached",
        ) from None


def hub_folder(source: HubSource, data_root: Path | None, staging: Path) -> Path:
    """The folder of classes inside the unpacked archives. Raises `UserError`, also for another sha256."""
    names = source.filename if isinstance(source.filename, tuple) else (source.filename,)
    hashes = source.sha256 if isinstance(source.sha256, tuple) else (source.sha256,) * len(names)
    unpacked = staging / "unpacked"
    for name, sha256 in zip(names, hashes, strict=True):
        archive = _local_archive(name, data_root) or _download(source, name, staging)
        _check(archive, sha256)
        _unpack(archive, unpacked)
    folder = (unpacked / source.folder).resolve()
    if not folder.is_relative_to(unpacked.resolve()) or not folder.is_dir():
        inside = ", ".join(sorted(p.name for p in unpacked.iterdir()))
        raise UserError(
            f"{', '.join(names)} has no folder {source.folder!r}", f"its top: {inside}", "correct data.source.folder"
        )
    return folder


def _check(archive: Path, sha256: str | None) -> None:
    if sha256 is None:
        return
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256.lower():
        raise UserError(f"{archive} has sha256 {found}", sha256, "fetch it again, or correct data.source.sha256")


def _unpack(archive: Path, unpacked: Path) -> None:
    try:
        # Python's own filter refuses members that would land outside; zipfile never writes outside.
        options = {} if archive.suffix.lower() == ".zip" else {"filter": "data"}
        shutil.unpack_archive(archive, unpacked, **options)
    except (shutil.ReadError, tarfile.TarError, zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
        raise UserError(
            f"{archive} can't be unpacked ({error})", "a whole .zip, .tar, .tar.gz or .tar.xz", "fetch it again"
        ) from None


def _local_archive(filename: str, data_root: Path | None) -> Path | None:
    if data_root is None:
        return None
    places = (data_root / filename, data_root / Path(filename).name)
    return next((place for place in places if place.is_file()), None)


def _download(source: HubSource, filename: str, staging: Path) -> Path:
    from torch.hub import download_url_to_file

    url = HUB_URL.format(repo_id=source.repo_id, revision=source.revision, filename=filename)
    target = staging / Path(filename).name
    try:
        download_url_to_file(url, str(target), progress=False)
    except OSError as error:
        raise UserError(
            f"download of {url} failed ({error})",
            f"{filename} under VISIONOPS_DATA, or a network",
            "put the archive under VISIONOPS_DATA, or run where the network can be reached",
        ) from None
    return target


def _class_folders(folder: Path, staging: Path) -> Classes:
    """`<class>/<image>`, or `train|val|test/<class>/<image>`: then names get their split in front, to stay apart."""
    parts = [folder / name for name in ("train", "val", "test") if (folder / name).is_dir()]
    if not parts:
        return scan_classes(folder)
    merged: Classes = {}
    for part in parts:
        for label, files in scan_classes(part).items():
            merged.setdefault(label, []).extend(
                _link(file, staging / "merged" / label / f"{part.name}_{file.name}") for file in files
            )
    return merged


def _link(file: Path, place: Path) -> Path:
    """A name of its own for a file that is only read."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(file.resolve())
    return place


def _load(make: Any, folder: Path, **options: Any) -> Any:
    """The data set from what lies in `folder`; downloaded only when that is not enough."""
    try:
        return make(str(folder), download=False, **options)
    except RuntimeError:
        return make(str(folder), download=True, **options)


def _cifar10(folder: Path, staging: Path) -> Classes:
    from torchvision.datasets import CIFAR10

    found: Classes = {}
    for split in ("train", "test"):
        data = _load(CIFAR10, folder, train=split == "train")
        for number, (pixels, target) in enumerate(zip(data.data, data.targets, strict=True)):
            label = data.classes[target]
            place = staging / "drawn" / label / f"{split}_{number:05d}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(place)
            found.setdefault(label, []).append(place)
    return found


def _caltech101(folder: Path, staging: Path) -> Classes:
    from torchvision.datasets import Caltech101

    data = _load(Caltech101, folder)
    found = scan_classes(Path(data.root) / "101_ObjectCategories")
    return {label: files for label, files in found.items() if label != NOT_A_CLASS}


def _flowers102(folder: Path, staging: Path) -> Classes:
    from torchvision.datasets import Flowers102

    splits = [_load(Flowers102, folder, split=split) for split in ("train", "val", "test")]
    return _by_label((data.classes[label], path) for data in splits for path, label in _files(data))


def _oxford_iiit_pet(folder: Path, staging: Path) -> Classes:
    from torchvision.datasets import OxfordIIITPet

    splits = [_load(OxfordIIITPet, folder, split=split) for split in ("trainval", "test")]
    return _by_label((data.classes[label], path) for data in splits for path, label in _files(data))


def _files(data: Any) -> Iterator[tuple[Path, int]]:
    """Private fields: torchvision has no public way to these files, and encoding them again would change them."""
    files = data._image_files if hasattr(data, "_image_files") else data._images
    return zip(map(Path, files), data._labels, strict=True)


def _by_label(pairs: Iterator[tuple[str, Path]]) -> Classes:
    found: Classes = {}
    for name, path in pairs:
        found.setdefault(name.lower().replace(" ", "_").replace("/", "_"), []).append(path)
    return {label: sorted(files) for label, files in sorted(found.items())}


_EXPORTS = {
    "cifar10": _cifar10,
    "caltech101": _caltech101,
    "flowers102": _flowers102,
    "oxford_iiit_pet": _oxford_iiit_pet,
}
