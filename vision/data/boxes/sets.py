"""A source's images with their boxes, before they become a dataset folder: which classes are taken, what each is called."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vision.data.boxes.annotations import ImageBoxes, rarest_labels
from vision.data.boxes.geometry import DEFECT, NORMAL, Box
from vision.data.config import DataConfig
from vision.data.folders import listed
from vision.errors import UserError

UNSPEAKABLE = ("/", "\\", "\0", "\n", "\r", "\t")


@dataclass(frozen=True)
class SourceImage:
    """key: how the source calls it, posix. target: its path in the dataset folder. file: None when it isn't there.

    boxes: None where the source does not tell. size_px: (width, height), upright. fault: why file and annotations don't
    match; such an image is a row that the contract judges.
    """

    key: str
    target: str
    file: Path | None
    boxes: tuple[Box, ...] | None
    size_px: tuple[int, int] | None = None
    fault: str | None = None
    mask: Path | None = None


@dataclass(frozen=True)
class BoxSet:
    """where: the source, for messages. notes: what was left out and why, a sentence each."""

    where: str
    categories: tuple[str, ...]
    images: tuple[SourceImage, ...]
    notes: tuple[str, ...] = ()


def check_categories(names: Sequence[str], where: str) -> None:
    """Raises `UserError` for names that can't be a label: two alike, empty, a path."""
    counts = Counter(names)
    if twice := sorted(name for name, count in counts.items() if count > 1):
        raise UserError(
            f"{where} has more than one category named {listed(twice)}", "each name once", "rename or merge them"
        )
    bad = [n for n in names if not n.strip() or n in (".", "..") or any(sign in n for sign in UNSPEAKABLE)]
    if bad:
        raise UserError(
            f"{where} has a category named {bad[0]!r}", "a name without slashes and line breaks", "rename the category"
        )


def select_categories(found: BoxSet, config: DataConfig) -> BoxSet:
    """Applies `data.classes` or `top_k` to the boxes.

    An image all of whose boxes are of other classes is left out: it is neither a defect that is asked for nor flawless.
    Raises `UserError` for nothing at all, and for a class that isn't there.
    """
    if not found.images:
        raise UserError(f"no image in {found.where}", "at least two images", "check data.source, or VISIONOPS_DATA")
    names = _chosen(found, config)
    if set(names) == set(found.categories):
        return replace(found, categories=names)
    images, dropped = [], 0
    for image in found.images:
        kept = tuple(box for box in image.boxes or () if box.label in names)
        if image.boxes and not kept:
            continue
        dropped += len(image.boxes or ()) - len(kept)
        images.append(replace(image, boxes=None if image.boxes is None else kept))
    if not images:
        raise UserError(
            f"no image of {found.where} shows {listed(names)}, and none is flawless",
            "classes with images",
            "correct data.classes",
        )
    away = len(found.images) - len(images)
    notes = [f"{away:,} images left out that show only classes that are not taken"] if away else []
    notes += [f"{dropped:,} boxes left out of classes that are not taken, on images that stay"] if dropped else []
    return replace(found, categories=names, images=tuple(images), notes=(*found.notes, *notes))


def _chosen(found: BoxSet, config: DataConfig) -> tuple[str, ...]:
    boxed = Counter(label for image in found.images for label in {box.label for box in image.boxes or ()})
    names = sorted(name for name in found.categories if name != NORMAL or boxed[name])
    if NORMAL in names:
        raise UserError(
            f"{found.where} has boxes of a category named {NORMAL}",
            f"{NORMAL} is what an image without a defect is called",
            "rename the category, or remove its boxes",
        )
    if missing := [name for name in config.classes or () if name not in names]:
        raise UserError(
            f"data.classes names {', '.join(missing)}, which {found.where} does not have",
            f"categories found there: {listed(names)}",
            "correct data.classes",
        )
    if config.top_k is not None and config.top_k > len(names):
        raise UserError(
            f"data.top_k is {config.top_k}, {found.where} has {len(names)} categories: {listed(names)}",
            f"at most {len(names)}",
            "lower data.top_k",
        )
    if not names:
        raise UserError(f"{found.where} names no category", "one or more", "add categories to the annotations")
    if config.top_k is not None:
        names = sorted(names, key=lambda name: (-boxed[name], name))[: config.top_k]
    return tuple(config.classes or names)


def image_boxes(images: Sequence[SourceImage], label_by: str) -> list[ImageBoxes]:
    """What `annotations.json` says of them. An image of which no box is known is a defect: nobody called it normal."""
    labels = rarest_labels([image.boxes or () for image in images])
    return [
        ImageBoxes(image.target, _label(image, rarest, label_by), image.boxes, image.size_px, image.fault)
        for image, rarest in zip(images, labels, strict=True)
    ]


def _label(image: SourceImage, rarest: str, label_by: str) -> str:
    if image.boxes is None and image.fault is None:
        return DEFECT
    return rarest if label_by == "class" or rarest == NORMAL else DEFECT


def answers(categories: Sequence[str], label_by: str) -> tuple[str, ...]:
    """What a model of such data answers with, in order."""
    return tuple(categories) if label_by == "class" else (NORMAL, DEFECT)
