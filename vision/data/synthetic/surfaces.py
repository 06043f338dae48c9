"""Photographs of metal surfaces that the project draws itself, with the exact pixels and box of every defect.

Plate, fittings, light and camera come from random streams that never see the label: the same seed drawn as `normal` is
the same photograph without a defect.
"""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from vision.data.boxes.geometry import NORMAL, Box
from vision.data.synthetic import fittings
from vision.data.synthetic import scene as scenery
from vision.data.synthetic.defects import PAINTERS
from vision.data.synthetic.metal import draw_plate
from vision.data.synthetic.texture import stream

DEFECTS = ("dent", "pit", "scratch")
EXTRA_DEFECT = "rust"
LABELS = (*DEFECTS, NORMAL)
MOST = 60
"""Defects of one class an image can number in its mask."""


def draw_surface(label: str, seed: int, side_px: int, scene: str = "field") -> tuple[np.ndarray, np.ndarray]:
    """One photograph uint8 [S, S, 3] and its mask uint8 [S, S]: 0, or the number of a defect (see `boxes_of_mask`).

    label: a defect that the image surely has (others may be there too), or `normal`: none.
    """
    plate = draw_plate(stream(seed, "plate"), side_px)
    clutter_rng, scene_rng = stream(seed, "fittings"), stream(seed, "scene")
    fittings.fit(clutter_rng, plate)
    flaws = stream(seed, "defects " + label)
    counts: dict[str, int] = defaultdict(int)
    for defect in _defects(flaws, label):
        counts[defect] += PAINTERS[defect](flaws, plate, _number(defect, counts[defect]))
    fittings.litter(clutter_rng, plate)
    light = scenery.draw_light(scene_rng, side_px)
    light = replace(light, shade=0.5 + 0.4 * light.shade)
    slopes = np.stack(np.gradient(plate.height))
    image = 0.85 * scenery.relight(plate.image, slopes, light) * fittings.glare(scene_rng, plate, light.field)
    camera = scenery.choose_camera(stream(seed, "camera"), scene)
    return scenery.photograph(scene_rng, image, replace(camera, saturation=min(camera.saturation, 1.15))), plate.marks


def boxes_of_mask(mask: np.ndarray) -> list[Box]:
    """The box of every defect in a mask uint8 [H, W] as `draw_surface` makes it: the outermost of its pixels."""
    found = []
    for number in np.unique(mask[mask > 0]).tolist():
        rows, columns = np.nonzero(mask == number)
        label = sorted(PAINTERS)[(number - 1) // MOST]
        found.append(Box(label, columns.min().item(), rows.min().item(), columns.max() + 1.0, rows.max() + 1.0))
    return found


def read_boxes(mask: Path) -> list[Box]:
    with Image.open(mask) as picture:
        return boxes_of_mask(np.asarray(picture))


def _defects(rng: np.random.Generator, label: str) -> list[str]:
    """What to put on: one to three of the label, and at times one of each other class that is trained on."""
    if label == NORMAL:
        return []
    own = [label] * int(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1]))
    return own + [other for other in DEFECTS if other != label and rng.random() < 0.2]


def _number(defect: str, before: int) -> int:
    """Of a defect in the mask: its class in bands of `MOST`, and which one it is."""
    return 1 + sorted(PAINTERS).index(defect) * MOST + before
