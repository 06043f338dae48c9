"""Drawn metal surfaces: exact, the same again for a seed, and not to be solved by a threshold."""

import numpy as np
import pytest
from scipy import ndimage

from vision.data.boxes.annotations import read_annotations
from vision.data.boxes.geometry import Box, overlaps
from vision.data.config import DataConfig, DrawnSource
from vision.data.features import FEATURES, describe
from vision.data.manifest import list_images
from vision.data.sources import materialise
from vision.data.synthetic.dataset import image_seed, labels_of
from vision.data.synthetic.scene import encode
from vision.data.synthetic.surfaces import DEFECTS, LABELS, boxes_of_mask, draw_surface, read_boxes

SIDE_PX = 128


@pytest.fixture(scope="module")
def drawn():
    """[(label, picture, mask)]: 40 of each label, as a drawn data set would have them."""
    return [
        (label, *draw_surface(label, image_seed(7, label, index), SIDE_PX)) for label in LABELS for index in range(40)
    ]


def test_the_same_label_and_seed_draw_the_same_picture_and_another_seed_another():
    first, again, other = (draw_surface("pit", seed, 64) for seed in (5, 5, 6))
    assert np.array_equal(first[0], again[0]) and np.array_equal(first[1], again[1])
    assert np.abs(first[0].astype(int) - other[0]).mean() > 10


@pytest.mark.parametrize("label", [*DEFECTS, "rust"])
def test_the_same_seed_without_a_defect_is_the_same_photograph_elsewhere(label):
    picture, mask = draw_surface(label, 3, 160)
    clean, nothing = draw_surface("normal", 3, 160)
    far = ~ndimage.binary_dilation(mask > 0, iterations=8)
    assert mask.any() and not nothing.any()
    assert np.abs(picture[far].astype(int) - clean[far]).max() <= 3
    assert np.abs(picture[mask > 0].astype(int) - clean[mask > 0]).mean() > 8


def test_a_box_is_the_outermost_pixels_of_its_defect():
    mask = np.zeros((20, 30), np.uint8)
    mask[3:7, 10:25] = 1 + 60
    mask[10, 2] = 1 + 180
    mask[12, 4] = 1 + 180
    assert boxes_of_mask(mask) == [Box("pit", 10, 3, 25, 7), Box("scratch", 2, 10, 5, 13)]


def test_every_image_shows_its_label_and_flawless_ones_show_nothing(drawn):
    for label, _, mask in drawn:
        labels = {box.label for box in boxes_of_mask(mask)}
        assert label in labels if label != "normal" else not labels
        assert labels <= set(DEFECTS)


def test_boxes_lie_inside_and_apart_and_some_are_small(drawn):
    boxes = [boxes_of_mask(mask) for _, _, mask in drawn]
    sides = np.array([box[1:] for one in boxes for box in one])
    assert sides.min() >= 0 and sides.max() <= SIDE_PX
    short = (sides[:, 2:] - sides[:, :2]).min(axis=1) / SIDE_PX
    assert short.min() > 0.02 and (short < 0.08).mean() > 0.15
    for one in boxes:
        own = np.array([box[1:] for box in one]).reshape(-1, 4)
        assert np.triu(overlaps(own, own), 1).max(initial=0) < 0.6


def test_different_surfaces_are_not_near_duplicates(drawn):
    hashes = [int(describe(encode(picture, 92))["phash"], 16) for _, picture, _ in drawn]
    distances = np.bitwise_count(np.array(hashes, np.uint64)[:, None] ^ np.array(hashes, np.uint64)[None])
    assert distances[np.triu_indices(len(hashes), 1)].min() > 4


def test_the_feature_table_alone_does_not_tell_a_flawed_surface(drawn):
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import cross_val_score

    rows = [[describe(encode(picture, 92))[name] for name in FEATURES] for _, picture, _ in drawn]
    flawed = [label != "normal" for label, *_ in drawn]
    forest = RandomForestClassifier(60, class_weight="balanced", random_state=0)
    found = cross_val_score(forest, np.array(rows), flawed, cv=4, scoring="balanced_accuracy").mean()
    assert found < 0.65


def spots(picture: np.ndarray, limit: float) -> list[tuple]:
    """Boxes (x1, y1, x2, y2) of what is far from the light around it: all that a threshold sees."""
    grey = picture.astype(np.float32).mean(axis=2)
    apart = np.abs(ndimage.gaussian_filter(grey, 1) - ndimage.gaussian_filter(grey, 12))
    pieces, _ = ndimage.label(ndimage.binary_dilation(apart > limit * apart.std() + 4))
    return [(x.start, y.start, x.stop, y.stop) for y, x in ndimage.find_objects(pieces) if (y.stop - y.start) > 3]


@pytest.mark.parametrize("limit", [1.0, 2.0, 3.0])
def test_a_threshold_does_not_find_the_defects(drawn, limit):
    """Even when it needn't name them: of its boxes and the true ones too few are the same."""
    right = boxes = true = 0
    for _, picture, mask in drawn[::3]:
        found, real = np.array(spots(picture, limit)).reshape(-1, 4), [box[1:] for box in boxes_of_mask(mask)]
        right += int((overlaps(real, found).max(axis=1, initial=0) >= 0.5).sum())
        boxes, true = boxes + len(found), true + len(real)
    assert 2 * right / (boxes + true) < 0.35


def test_a_data_set_of_surfaces_has_boxes_masks_and_flawless_images(tmp_path):
    source = DrawnSource(type="drawn", what="surfaces", images_per_class=2, side_px=64, extra_class=True)
    made = materialise(DataConfig(source=source), tmp_path / "set", None)
    assert made.labels == ("dent", "pit", "rust", "scratch") and sum(made.counts.values()) == 10
    assert labels_of(source) == ("dent", "pit", "scratch", "normal", "rust")
    for image in read_annotations(tmp_path / "set"):
        mask = tmp_path / "set/masks" / image.path.removeprefix("images/").replace(".jpg", ".png")
        assert tuple(read_boxes(mask)) == image.boxes
    assert set(list_images(tmp_path / "set")["label"]) >= {"normal"}
