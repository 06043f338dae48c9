"""Leaf photographs that the project draws itself, with an exact mask of every lesion.

The leaf, what lies on it, the place, the light and the camera come from random streams that never see the label: the
same seed with another label is the same photograph with another disease, and "healthy" is the one without any.
"""

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from vision.data import synthetic_clutter as clutter
from vision.data import synthetic_scene as scenery
from vision.data.boxes import Box
from vision.data.config import DrawnSource
from vision.data.synthetic_leaf import colour_tissue, draw_leaf_shape, relief_of
from vision.data.synthetic_lesions import paint_lesions
from vision.data.synthetic_scene import encode
from vision.data.synthetic_texture import mix, stream
from vision.errors import UserError

CLASSES = ("early_blight", "healthy", "late_blight", "septoria_leaf_spot")
EXTRA_CLASS = "leaf_mold"
SCENES = ("field", "dark", "other_camera")
POOL_PAYS = 50 * 256
"""Pictures times side in px."""


def draw_leaf(label: str, seed: int, side_px: int, scene: str = "field") -> tuple[np.ndarray, np.ndarray]:
    """One photograph uint8 [S, S, 3] and its lesion mask uint8 [S, S] (255 in a lesion or its halo, else 0).

    Raises: UserError for a label or scene that it cannot draw.
    """
    _check(label, scene)
    shape_rng, clutter_rng, scene_rng = (stream(seed, part) for part in ("shape", "clutter", "scene"))
    pose, blade, rest = draw_leaf_shape(shape_rng, side_px)
    light = scenery.draw_light(scene_rng, side_px)
    cover = np.maximum(blade.cover, rest)
    ground = scenery.draw_background(scene_rng, side_px)
    ground = ground * (1 - scenery.cast_shadow(scene_rng, cover, light)[..., None])

    leaf = colour_tissue(shape_rng, blade, side_px)
    clutter.scald(clutter_rng, blade, leaf)
    sick = paint_lesions(label, stream(seed, "lesions " + label), (pose, blade), leaf)
    clutter.splash(clutter_rng, blade, leaf)
    clutter.trail(clutter_rng, blade, leaf)
    leaf = scenery.relight(leaf, relief_of(shape_rng, blade, side_px), light)
    holes = clutter.bites(clutter_rng, blade, leaf, ground)
    clutter.specks(clutter_rng, blade, leaf)
    clutter.insects(clutter_rng, blade, leaf)
    clutter.drops(clutter_rng, blade, leaf, light.towards)

    image = mix(ground, leaf, cover) * light.field
    picture = scenery.photograph(scene_rng, image, scenery.choose_camera(stream(seed, "camera"), scene))
    mask = (sick > 0.06) & (holes < 0.5)
    return picture, mask.astype(np.uint8) * 255


def _check(label: str, scene: str) -> None:
    if label not in (*CLASSES, EXTRA_CLASS):
        raise UserError(f"label {label!r}", ", ".join((*CLASSES, EXTRA_CLASS)), "ask for one of these leaves")
    if scene not in SCENES:
        raise UserError(f"scene {scene!r}", ", ".join(SCENES), "ask for one of these scenes")


def jpeg_quality(seed: int, scene: str) -> int:
    """The quality, 1..100, at which this picture's camera would store it; no label in it."""
    return scenery.choose_camera(stream(seed, "camera"), scene).quality


def paint_over(image: np.ndarray, mask: np.ndarray, twin: np.ndarray | None = None) -> np.ndarray:
    """The picture, uint8 [S, S, 3], with what the mask [S, S] covers replaced by tissue as it is around it.

    With `twin` (the same leaf without lesions: `draw_leaf("healthy", seed, ...)`) its tissue is laid in, and the picture
    tells no more than the pixels outside the mask do. Without it the tissue is guessed: colours of the nearby pixels that
    look like the leaf (normalised convolution, coarse to fine), grain and veins mirrored in from beyond the lesion's border.
    The guess can't know where the outline ran below a lesion at the leaf's edge.
    """
    from scipy import ndimage

    side_px = max(image.shape[:2])
    hole = ndimage.binary_dilation(mask > 0, iterations=max(1, round(side_px / 60)))
    if not hole.any():
        return image.copy()
    light = image.astype(np.float32)
    distance, nearest = ndimage.distance_transform_edt(hole, return_indices=True)
    painted = _inpaint(light, hole, nearest) if twin is None else twin
    share = np.clip(distance, 0, 2)[..., None] / 2
    return np.clip(light + (painted - light) * share, 0, 255).astype(np.uint8)


def _inpaint(light: np.ndarray, hole: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """Tissue for the hole out of what is around it; nearest [2, S, S] points at the closest pixel that is known."""
    from scipy import ndimage

    height, width = hole.shape
    side_px = max(height, width)
    from_hole = ndimage.distance_transform_edt(~hole)
    leaf = _likeness(light, (from_hole > 0) & (from_hole < side_px / 16)) * ~hole
    smooth = _fill(light, leaf, [side_px * part for part in (0.25, 0.1, 0.04, 0.018)])
    detail = (light - _fill(light, leaf, [side_px * 0.018])) * leaf[..., None]
    rows, columns = np.indices(hole.shape)
    mirrored = np.clip(2 * nearest[0] - rows, 0, height - 1), np.clip(2 * nearest[1] - columns, 0, width - 1)
    return smooth + detail[mirrored]


def _likeness(light: np.ndarray, ring: np.ndarray) -> np.ndarray:
    """How much each pixel looks like the leaf, float32 [S, S] in 0..1: the commonest colour around the lesions."""
    near = light[ring]
    middle = np.median(near, axis=0)
    for _ in range(4):
        pull = np.exp(-((near - middle) ** 2).sum(axis=1) / (2 * 30.0**2)) + 1e-6
        middle = (near * pull[:, None]).sum(axis=0) / pull.sum()
    return np.exp(-((light - middle) ** 2).sum(axis=2) / (2 * 38.0**2)).astype(np.float32)


def _fill(light: np.ndarray, weight: np.ndarray, sigmas_px: list[float]) -> np.ndarray:
    """Weighted means at falling scales; the finest one that has evidence wins. float32 [S, S, 3]."""
    from scipy import ndimage

    filled = np.broadcast_to((light * weight[..., None]).sum((0, 1)) / (weight.sum() + 1e-6), light.shape)
    for sigma in sigmas_px:
        mass = ndimage.gaussian_filter(weight, sigma)
        mean = ndimage.gaussian_filter(light * weight[..., None], (sigma, sigma, 0)) / (mass[..., None] + 1e-6)
        filled = mix(filled, mean, np.clip(mass * 6, 0, 1))
    return filled


def image_seed(dataset_seed: int, label: str, index: int) -> int:
    """The seed of one picture of a drawn data set; any order of drawing gives the same pictures."""
    return int.from_bytes(hashlib.sha256(f"{dataset_seed}/{label}/{index}".encode()).digest()[:6], "big")


def labels_of(config: DrawnSource) -> tuple[str, ...]:
    classes, extra = CLASSES, EXTRA_CLASS
    if config.what == "surfaces":
        from vision.data.synthetic_surfaces import EXTRA_DEFECT as extra
        from vision.data.synthetic_surfaces import LABELS as classes
    return (*classes, extra) if config.extra_class else classes


def draw_picture(config: DrawnSource, label: str, seed: int, scene: str) -> tuple[np.ndarray, np.ndarray]:
    """One photograph of what `config` draws, uint8 [S, S, 3], and its mask uint8 [S, S], 0 where nothing is wrong."""
    if config.what == "surfaces":
        from vision.data.synthetic_surfaces import draw_surface

        return draw_surface(label, seed, config.side_px, scene)
    return draw_leaf(label, seed, config.side_px, scene)


def drawn_boxes(config: DrawnSource, mask: np.ndarray) -> list[Box] | None:
    """The boxes in a mask of `draw_picture`; None for what is labelled as a whole."""
    if config.what != "surfaces":
        return None
    from vision.data.synthetic_surfaces import boxes_of_mask

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
