"""From a source with boxes to what its dataset folder will hold: images, masks, `annotations.json`, `groups.csv`."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vision.data.archives import hub_folder
from vision.data.boxes.annotations import ANNOTATIONS, write_annotations
from vision.data.boxes.labels import add_labelled
from vision.data.boxes.sets import BoxSet, SourceImage, answers, image_boxes, select_categories
from vision.data.config import CocoLayout, DataConfig, DrawnSource, GroupTable, HubSource, YoloLayout
from vision.data.folders import find_folder
from vision.data.groups import GROUPS, groups_of, write_groups
from vision.errors import UserError


@dataclass(frozen=True)
class BoxPlan:
    """plan: target in the dataset folder -> file. counts: images a label. See `Materialised` for the others."""

    plan: dict[str, Path]
    labels: tuple[str, ...]
    counts: dict[str, int]
    labelled: int
    conflicts: tuple[tuple[str, str, str], ...]
    notes: tuple[str, ...]


def find_boxes(
    config: DataConfig, data_root: Path | None, staging: Path, on_progress: Callable[[int, int], None] | None = None
) -> tuple[BoxSet, Path | None]:
    """What the source has, and its folder where others may write to it. Raises `UserError`."""
    source = config.source
    if isinstance(source, DrawnSource):
        return _draw(source, staging, on_progress), None
    if isinstance(source, HubSource):
        folder, layout = hub_folder(source, data_root, staging), source.boxes
    else:
        folder, layout = find_folder(source.path, data_root), source
    return read_boxes_folder(folder, layout), folder


def read_boxes_folder(folder: Path, layout: CocoLayout | YoloLayout) -> BoxSet:
    """Raises `UserError` for annotations that can't be understood."""
    from vision.data.boxes.coco import read_coco_folder
    from vision.data.boxes.yolo import read_yolo_folder

    return read_yolo_folder(folder, layout) if isinstance(layout, YoloLayout) else read_coco_folder(folder, layout)


def plan_boxes(found: BoxSet, config: DataConfig, folder: Path | None, staging: Path, labelled: Path | None) -> BoxPlan:
    """folder: where `groups.table` lies. staging: what is written for the data set goes there."""
    label_by = config.label_by
    chosen = select_categories(found, config)
    labels = answers(chosen.categories, label_by)
    added = add_labelled(labelled, chosen.images, labels, label_by)
    images = (*chosen.images, *added.images)
    plan = _plan(images, found.where)
    described = image_boxes(images, label_by)
    write_annotations(described, labels, chosen.categories, staging / ANNOTATIONS)
    plan[ANNOTATIONS] = staging / ANNOTATIONS
    groups = getattr(config.source, "groups", None)
    if groups is not None and folder is not None:
        plan[GROUPS] = _write_groups(folder, groups, chosen, staging)
    counts = dict(sorted(Counter(image.label for image in described).items()))
    return BoxPlan(plan, labels, counts, len(added.images), added.conflicts, (*chosen.notes, *_told(added.placeless)))


def _told(placeless: int) -> list[str]:
    if not placeless:
        return []
    return [
        f"{placeless:,} images that people called by a defect's name wait: a label says no place, and a detector learns from "
        "boxes. Say them with `boxes` by POST /feedback, or add the images to the source; those called normal are taken as they are"
    ]


def _draw(source: DrawnSource, staging: Path, on_progress: Callable[[int, int], None] | None) -> BoxSet:
    from vision.data.synthetic.dataset import draw_dataset
    from vision.data.synthetic.surfaces import DEFECTS, EXTRA_DEFECT, read_boxes

    drawn = staging / "drawn"
    drawn.mkdir()
    draw_dataset(source, drawn, on_progress)
    images = []
    for file in sorted((drawn / "images").glob("*/*.jpg")):
        name = f"{file.parent.name}/{file.stem}"
        mask = drawn / "masks" / f"{name}.png"
        size_px = (source.side_px, source.side_px)
        images.append(SourceImage(name, f"images/{name}.jpg", file, tuple(read_boxes(mask)), size_px, mask=mask))
    categories = (*DEFECTS, EXTRA_DEFECT) if source.extra_class else DEFECTS
    return BoxSet(f"drawn {source.what}", categories, tuple(images))


def _plan(images: tuple[SourceImage, ...], where: str) -> dict[str, Path]:
    """Target -> file. A target named twice would lose one of the two."""
    plan: dict[str, Path] = {}
    keys: dict[str, str] = {}
    for image in images:
        if image.target in keys:
            raise UserError(
                f"{where}: {keys[image.target]} and {image.key} would both become {image.target}",
                "one file a name",
                "rename one of them",
            )
        keys[image.target] = image.key
        if image.file is not None:
            plan[image.target] = image.file
        if image.mask is not None:
            plan[Path("masks", *Path(image.target).parts[1:]).with_suffix(".png").as_posix()] = image.mask
    return plan


def _write_groups(folder: Path, groups: GroupTable, chosen: BoxSet, staging: Path) -> Path:
    """groups.csv (path, group) of the images taken. An image that the table doesn't name is in no group."""
    keys = {image.key: image.target for image in chosen.images}
    named = groups_of(folder, groups, list(keys))
    rows = sorted((keys[key], group) for key, group in named.items())
    return write_groups(staging, rows)
