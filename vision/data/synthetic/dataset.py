"""A data set that the project draws itself, leaves or surfaces: which pictures it has, and drawing those that are not there."""

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from vision.data.boxes.geometry import Box
from vision.data.config import DrawnSource
from vision.data.synthetic.leaves import CLASSES, EXTRA_CLASS, draw_leaf
from vision.data.synthetic.scene import encode, jpeg_quality

POOL_PAYS = 50 * 256
"""Pictures times side in px."""


def image_seed(dataset_seed: int, label: str, index: int) -> int:
    """The seed of one picture of a drawn data set; any order of drawing gives the same pictures."""
    return int.from_bytes(hashlib.sha256(f"{dataset_seed}/{label}/{index}".encode()).digest()[:6], "big")


def labels_of(config: DrawnSource) -> tuple[str, ...]:
    classes, extra = CLASSES, EXTRA_CLASS
    if config.what == "surfaces":
        from vision.data.synthetic.surfaces import EXTRA_DEFECT as extra
        from vision.data.synthetic.surfaces import LABELS as classes
    return (*classes, extra) if config.extra_class else classes


def draw_picture(config: DrawnSource, label: str, seed: int, scene: str) -> tuple[np.ndarray, np.ndarray]:
    """One photograph of what `config` draws, uint8 [S, S, 3], and its mask uint8 [S, S], 0 where nothing is wrong."""
    if config.what == "surfaces":
        from vision.data.synthetic.surfaces import draw_surface

        return draw_surface(label, seed, config.side_px, scene)
    return draw_leaf(label, seed, config.side_px, scene)


def drawn_boxes(config: DrawnSource, mask: np.ndarray) -> list[Box] | None:
    """The boxes in a mask of `draw_picture`; None for what is labelled as a whole."""
    if config.what != "surfaces":
        return None
    from vision.data.synthetic.surfaces import boxes_of_mask

    return boxes_of_mask(mask)


def draw_dataset(config: DrawnSource, out: Path, on_progress: Callable[[int, int], None] | None = None) -> None:
    """Draws `out/images/<label>/<label>_<i>.jpg` and `out/masks/<label>/<label>_<i>.png`.

    A pair that is there is kept: files appear whole, by renaming, the picture last. The caller must not point it at a
    folder drawn with other settings, nor draw into one folder twice at a time. on_progress gets (done, all) after each picture.
    """
    for label in labels_of(config):
        for kind in ("images", "masks"):
            (out / kind / label).mkdir(parents=True, exist_ok=True)
    for stale in out.glob("*/*/.*.part"):
        stale.unlink(missing_ok=True)  # left by a run that was killed
    jobs = [(label, index) for label in labels_of(config) for index in range(config.images_per_class)]
    todo = [job for job in jobs if not all(path.exists() for path in _paths(out, *job))]
    kept = len(jobs) - len(todo)
    report = on_progress or (lambda done, total: None)
    report(kept, len(jobs))
    for drawn, _ in enumerate(_drawn(config, out, todo), start=1):
        report(kept + drawn, len(jobs))


def _drawn(config: DrawnSource, out: Path, todo: list[tuple[str, int]]):
    """Draws what is to do, by several processes when that pays: a new one takes as long as 20 pictures of 256 px, and the
    time of a picture grows with its side."""
    workers = min(len(os.sched_getaffinity(0)), 8) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    if len(todo) * config.side_px < POOL_PAYS or workers == 1:
        yield from (_draw_file(config, out, *job) for job in todo)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        labels, indices = zip(*todo, strict=True)
        yield from pool.map(_draw_file, [config] * len(todo), [out] * len(todo), labels, indices, chunksize=16)


def _paths(out: Path, label: str, index: int) -> tuple[Path, Path]:
    name = f"{label}_{index:05d}"
    return out / "images" / label / f"{name}.jpg", out / "masks" / label / f"{name}.png"


def _draw_file(config: DrawnSource, out: Path, label: str, index: int) -> None:
    seed = image_seed(config.seed, label, index)
    picture, mask = draw_picture(config, label, seed, config.scene)
    image_path, mask_path = _paths(out, label, index)
    encoded = BytesIO()
    Image.fromarray(mask).save(encoded, "PNG")
    _write_whole(mask_path, encoded.getvalue())
    _write_whole(image_path, encode(picture, jpeg_quality(seed, config.scene)))


def _write_whole(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(path)
