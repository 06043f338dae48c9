"""Labels that people gave to served images, in a data set with boxes.

An image whose boxes they drew is whole, and so is one that they call normal: it has none. One that they only call by a defect's name
lacks the place, so it teaches a detector nothing; where only presence is learned it is taken, its boxes unknown.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from vision.data.boxes.geometry import DEFECT, NORMAL
from vision.data.boxes.sets import SourceImage
from vision.data.labels.store import PREFIX, LabelRow, in_source, read_labels

FOLDER = "labelled"


@dataclass(frozen=True)
class BoxAdditions:
    """images: new ones. conflicts: (key in the source, its label, the label that was said). placeless: how many only name a
    defect and so wait for somebody to draw its box."""

    images: tuple[SourceImage, ...] = ()
    conflicts: tuple[tuple[str, str, str], ...] = ()
    placeless: int = 0


def add_labelled(
    store: Path | None, images: Sequence[SourceImage], labels: Sequence[str], label_by: str
) -> BoxAdditions:
    """labels: what a model of this data answers with. Images that the source has by content are not added twice."""
    said = {*labels, NORMAL}
    rows = [row for row in read_labels(store) if row.label in said] if store else []
    if not rows:
        return BoxAdditions()
    by_file = {image.file: image for image in images if image.file is not None}
    there = in_source(store, rows, {"": list(by_file)})
    added, conflicts, placeless = [], [], 0
    for row in rows:
        if row.sha256 in there:
            image = by_file[there[row.sha256][1]]
            if not _agrees(row.label, image, label_by):
                conflicts.append((image.key, _called(image, label_by), row.label))
        elif row.label == NORMAL or label_by == "presence" or row.places is not None:
            added.append(_image(store, row, None if label_by == "presence" else said))
        else:
            placeless += 1
    return BoxAdditions(tuple(added), tuple(sorted(conflicts)), placeless)


def _image(store: Path, row: LabelRow, known: Collection[str] | None) -> SourceImage:
    """known: labels that a box may have; None: any. Boxes of other classes are left out, as of the source's own images."""
    name, places = f"{PREFIX}{Path(row.file).name}", () if row.label == NORMAL else row.places
    if places and known is not None:
        places = tuple(box for box in places if box.label in known)
    return SourceImage(row.file, f"images/{FOLDER}/{name}", store / row.file, places)


def _agrees(label: str, image: SourceImage, label_by: str) -> bool:
    if image.boxes is None:
        return True
    if label == NORMAL or label_by == "presence":
        return (label == NORMAL) == (not image.boxes)
    return label in {box.label for box in image.boxes}


def _called(image: SourceImage, label_by: str) -> str:
    names = sorted({box.label for box in image.boxes or ()})
    return NORMAL if not names else DEFECT if label_by == "presence" else " and ".join(names)
