"""Images with boxes from one form to another: COCO (VISION's layout too) and YOLO, or a system's data set with its splits.

No flow, no server: it reads a folder and writes another.
"""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from configs.load import settings
from configs.paths import StatePaths
from tasks.data.split import inherited_splits
from vision.data.boxes.export import FORMATS, Export, export_of_dataset, export_of_set, write_export
from vision.data.boxes.sources import read_boxes_folder
from vision.data.config import CocoLayout, YoloLayout
from vision.edge import DONE, guarded
from vision.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Prints what was written; exit code 2 for a folder that can't be understood, or that would be overwritten."""
    parser = ArgumentParser(prog="python -m flows.convert_boxes", description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--from", dest="folder", type=Path, help="a folder with COCO or YOLO annotations")
    source.add_argument("--system", help="the data set of this system as it was last taken in, by its splits")
    parser.add_argument("--to", type=Path, required=True, help="a new or empty folder")
    parser.add_argument("--format", choices=FORMATS, required=True)
    parser.add_argument("--products", nargs="+", help="of VISION's layout; default: all")
    parser.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
    asked = parser.parse_args(argv)
    if asked.system and asked.products:
        parser.error("--products goes with --from: a system has its products in its config")
    return guarded(lambda: _convert(asked), asked.verbose, kept="nothing was written")


def _convert(asked: Namespace) -> int:
    export = _of_system(asked.system) if asked.system else _of_folder(asked.folder, asked.products)
    write_export(export, asked.format, asked.to)
    boxes = sum(len(image.boxes) for image in export.images)
    left = "; ".join(f"{count:,} images left out: {why}" for why, count in sorted(export.left_out.items()))
    print(
        f"{len(export.images):,} images with {boxes:,} boxes of {len(export.categories)} classes as {asked.format} in {asked.to}"
    )
    for line in (left, *export.notes):
        if line:
            print(line)
    return DONE


def _of_folder(folder: Path, products: Sequence[str] | None) -> Export:
    """COCO where its file is; else YOLO where there is data.yaml or classes.txt or a folder labels."""
    if not folder.is_dir():
        raise UserError(f"--from {folder}: no such folder", "a folder with annotations", "correct the path")
    name = CocoLayout().annotations
    coco = products or any([*folder.glob(name), *folder.glob(f"*/{name}"), *folder.glob(f"*/*/{name}")])
    signs = [*folder.glob("*.y*ml"), *folder.glob("classes.txt"), *folder.glob("labels")]
    layout = YoloLayout() if signs and not coco else CocoLayout(products=tuple(products) if products else None)
    return export_of_set(read_boxes_folder(folder, layout))


def _of_system(system: str) -> Export:
    state = StatePaths(settings().state)
    folder = state.dataset(system)
    if not folder.is_dir():
        raise UserError(
            f"system {system!r} has no data set yet", "one that was taken in", f"make explore SYSTEM={system}"
        )
    splits = inherited_splits(state.system(system))
    if not splits:
        print(f"system {system!r} has trained no model yet, so nothing is split: all images go to one folder")
    return export_of_dataset(folder, splits)


if __name__ == "__main__":
    sys.exit(main())
