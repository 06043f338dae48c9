"""From what a config says of its data to a folder with exactly that: `images/<label>/<file>`, masks, groups."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from vision.data.archives import hub_folder, torchvision_classes
from vision.data.boxes.sources import find_boxes, plan_boxes
from vision.data.config import DataConfig, DrawnSource, FolderSource, HubSource, TorchvisionSource
from vision.data.folders import Classes, find_folder, left_out, scan_classes, select_classes, sync_files
from vision.data.groups import GROUPS, read_groups, write_groups
from vision.data.labels.store import plan_labelled, read_labels
from vision.data.snapshot import refuse_changes, stamps
from vision.errors import UserError

OnProgress = Callable[[int, int], None] | None


@dataclass(frozen=True)
class Materialised:
    """`labels` in the order that the model's outputs will have; `counts`: images a label.

    left_out: `<class>/<name>` of what lies beside the images and is none by its name. labelled: images that people
    labelled since, counted in `counts` too. conflicts: (path in the source, its label, the label that was said) of those
    that are left out, since the source calls them otherwise. notes: what else was left out of data with boxes, a sentence each.
    """

    labels: tuple[str, ...]
    counts: dict[str, int]
    left_out: tuple[str, ...] = ()
    labelled: int = 0
    conflicts: tuple[tuple[str, str, str], ...] = ()
    notes: tuple[str, ...] = ()


def materialise(
    config: DataConfig,
    out: Path,
    data_root: Path | None,
    on_progress: OnProgress = None,
    labelled: Path | None = None,
) -> Materialised:
    """Makes `out` hold the data set of `config` with the images of `labelled` (see `vision.data.labels.store`), nothing else.

    Nothing in `out` is touched before the source has been read and found right. A killed call is mended by the next.
    `on_progress(done, total)` counts images drawn or files copied. Raises `UserError`, also for a folder that changed
    while it was copied: then `out` is no data set until the next call.
    """
    with _staging(out) as staging:
        if config.has_boxes:
            return _materialise_boxes(config, out, (data_root, staging, labelled), on_progress)
        found, where = _find(config, data_root, staging, on_progress)
        classes = select_classes(_with_new_classes(found, config, labelled), config, where)
        added = plan_labelled(labelled, classes)
        plan = _plan(classes, where) | added.plan
        if (masks := staging / "drawn" / "masks").is_dir():
            plan |= {f"masks/{label}/{p.name}": p for label in classes for p in sorted((masks / label).glob("*.png"))}
        if isinstance(config.source, FolderSource) and config.source.groups is not None:
            plan[GROUPS] = _write_groups(config.source, data_root, classes, staging)
        with _unchanged_folder(found, config, where):
            sync_files(plan, out, None if isinstance(config.source, DrawnSource) else on_progress)
        counts = {label: len(files) + added.counts[label] for label, files in classes.items()}
        return Materialised(tuple(classes), counts, tuple(left_out(classes)), len(added.plan), added.conflicts)


def _materialise_boxes(
    config: DataConfig, out: Path, places: tuple[Path | None, Path, Path | None], on_progress: OnProgress
) -> Materialised:
    """places: VISIONOPS_DATA, the scratch folder, the store of labelled images."""
    data_root, staging, labelled = places
    found, folder = find_boxes(config, data_root, staging, on_progress)
    made = plan_boxes(found, config, folder, staging, labelled)
    files = {"": [image.file for image in found.images if image.file is not None]} if folder else {}
    with _unchanged(files, lambda: files, found.where):
        sync_files(made.plan, out, None if isinstance(config.source, DrawnSource) else on_progress)
    return Materialised(
        labels=made.labels,
        counts=made.counts,
        labelled=made.labelled,
        conflicts=made.conflicts,
        notes=made.notes,
    )


def _with_new_classes(found: Classes, config: DataConfig, labelled: Path | None) -> Classes:
    """And those that `data.classes` names and that people have labelled images of, when the source has none."""
    known = {row.label for row in read_labels(labelled)} if labelled else set()
    return found | {label: [] for label in config.classes or () if label in known and label not in found}


def _unchanged_folder(found: Classes, config: DataConfig, where: str) -> AbstractContextManager[None]:
    """`_unchanged` for the classes that are asked for of a folder source; of other sources nothing is looked at."""
    if not isinstance(config.source, FolderSource):
        return nullcontext()

    def asked(classes: Classes) -> Classes:
        return {label: files for label, files in classes.items() if config.classes is None or label in config.classes}

    return _unchanged(asked(found), lambda: asked(scan_classes(Path(where))), where)


@contextmanager
def _unchanged(before: Classes, now: Callable[[], Classes], where: str) -> Iterator[None]:
    """Raises `UserError` when the files of a source are not, after the work inside, what they were before it."""
    stamped = stamps(before)
    try:
        yield
    except OSError as error:
        refuse_changes(stamped, stamps(now()), where)
        # A copy that the disk has no room for names both files, the source first: that is no fault of the source.
        if error.filename2 is not None or error.filename is None or Path(error.filename) not in stamped:
            raise
        raise UserError(
            f"{error.filename} can't be read: {error.strerror}", "files that this user may read", "mend or remove it"
        ) from None
    refuse_changes(stamped, stamps(now()), where)


@contextmanager
def _staging(out: Path) -> Iterator[Path]:
    """A scratch folder beside `out`; what a killed call left in it is thrown away."""
    staging = out.with_name(f".{out.name}.staging")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _find(config: DataConfig, data_root: Path | None, staging: Path, on_progress: OnProgress) -> tuple[Classes, str]:
    """Classes of the source, and its name for messages."""
    source = config.source
    if isinstance(source, FolderSource):
        folder = find_folder(source.path, data_root)
        return scan_classes(folder), str(folder)
    if isinstance(source, TorchvisionSource):
        return torchvision_classes(source, data_root, staging), source.name
    if isinstance(source, HubSource):
        return scan_classes(hub_folder(source, data_root, staging)), f"{source.repo_id}/{source.filename}"
    from vision.data.synthetic.dataset import draw_dataset

    drawn = staging / "drawn"
    drawn.mkdir()
    draw_dataset(source, drawn, on_progress)
    return scan_classes(drawn / "images"), f"drawn {source.what}"


def _plan(classes: Classes, where: str) -> dict[str, Path]:
    """Target -> file. A target named twice would lose one of the two."""
    plan: dict[str, Path] = {}
    for label, files in classes.items():
        for file in files:
            name = f"images/{label}/{file.name}"
            if name in plan:
                raise UserError(f"{where} has two files for {name}", "one file a name", "rename one of them")
            plan[name] = file
    return plan


def _write_groups(source: FolderSource, data_root: Path | None, classes: Classes, staging: Path) -> Path:
    """groups.csv (path, group) of the images taken. An image that the table doesn't name is in no group."""
    groups = read_groups(find_folder(source.path, data_root), source.groups)
    paths = [(f"images/{label}/{file.name}", f"{label}/{file.name}") for label in classes for file in classes[label]]
    rows = sorted((path, groups[key]) for path, key in paths if key in groups.index)
    if not rows:
        raise UserError(
            f"{source.groups.table} names none of the {len(paths)} images (its first: {groups.index[0]!r})"
            if len(groups)
            else f"{source.groups.table} is empty",
            "<class>/<file> in groups.file_column",
            "correct data.source.groups",
        )
    return write_groups(staging, rows)
