"""What a labelling tool drew on the images of a label queue: a COCO file, read back image by image."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vision.data.boxes.coco import boxes_by_image
from vision.data.boxes.coco_file import CocoImage, read_coco
from vision.data.boxes.images import size_of, upright_boxes
from vision.data.labels.sheet import QueueItem
from vision.errors import UserError
from vision.records import SaidBox

DRAWINGS = "_annotations.coco.json"
"""In the queue's folder, beside its sheet."""


@dataclass(frozen=True)
class Drawn:
    """boxes: at least one, in pixels of the upright image, whose (width, height) is `size_px`. file: its name in the queue."""

    boxes: tuple[SaidBox, ...]
    size_px: tuple[int, int]
    file: str


def read_drawings(path: Path, folder: Path, items: Sequence[QueueItem]) -> dict[str, Drawn]:
    """By the id of the prediction. An image without a box is not among them: tools export those too that nobody has looked at.

    folder: the queue's. Raises `UserError` for a file that is no COCO, and for boxes on an image that isn't the queue's, or is there
    in another size.
    """
    content = read_coco(path)
    boxes, _ = boxes_by_image(content, path)
    by_name = {PurePosixPath(item.file).name: item for item in items}
    found = {}
    for image in content.images:
        if not boxes[image.id]:
            continue
        item = by_name.get(PurePosixPath(image.file_name.replace("\\", "/")).name)
        if item is None:
            raise UserError(f"{path}: {image.file_name} is not in this queue", "images of the queue", "take them out")
        size = size_of(folder / item.file)
        turned = None if size is None else upright_boxes(boxes[image.id], _annotated(image) or size.upright, size)
        if turned is None:
            raise UserError(
                f"{path}: {image.file_name} was drawn on at {image.width} x {image.height}",
                f"boxes in pixels of the queue's own image{f', {size.upright[0]} x {size.upright[1]}' if size else ''}",
                "draw on the queue's images as they are",
            )
        said = tuple(SaidBox(label=box.label, box=box[1:]) for box in turned)
        found[item.id] = Drawn(said, size.upright, item.file)
    return found


def _annotated(image: CocoImage) -> tuple[int, int] | None:
    return (image.width, image.height) if image.width and image.height else None
