"""Leaf photographs that the project draws itself, with an exact mask of every lesion.

The leaf, what lies on it, the place, the light and the camera come from random streams that never see the label: the
same seed with another label is the same photograph with another disease, and "healthy" is the one without any.
"""

import numpy as np

from vision.data.synthetic import clutter
from vision.data.synthetic import scene as scenery
from vision.data.synthetic.leaf import colour_tissue, draw_leaf_shape, relief_of
from vision.data.synthetic.lesions import paint_lesions
from vision.data.synthetic.texture import mix, stream
from vision.errors import UserError

CLASSES = ("early_blight", "healthy", "late_blight", "septoria_leaf_spot")
EXTRA_CLASS = "leaf_mold"
SCENES = ("field", "dark", "other_camera")


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
