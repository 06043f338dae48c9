"""Boxes follow pixels: a bright rectangle is drawn, the image augmented, and the rectangle sought in the result."""

import numpy as np
import pytest
import torch

from vision.augment import build_augment
from vision.augment_moves import Moves, moved_boxes
from vision.errors import UserError
from vision.package import InputSpec
from vision.training.config import AugmentStep

SIDE_PX = 64
SPEC = InputSpec(side_px=SIDE_PX, resize_px=SIDE_PX, crop="squash")


def rectangles(count, seed=0):
    """Dark images with one white rectangle each; its box in 0..1."""
    rng, images, targets = np.random.default_rng(seed), [], []
    for number in range(count):
        low = rng.integers(4, 40, 2)
        high = low + rng.integers(10, 20, 2)
        image = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)
        image[low[1] : high[1], low[0] : high[0]] = 255
        box = torch.tensor([[low[0], low[1], high[0], high[1]]], dtype=torch.float32) / SIDE_PX
        images.append(image)
        targets.append({"boxes": box, "labels": torch.tensor([number])})
    return torch.from_numpy(np.stack(images)), targets


def augmented(steps, count=20, seed=1):
    images, targets = rectangles(count)
    steps = [AugmentStep(name=name, args=args) for name, args in steps]
    augment = build_augment(steps, SPEC, (0.5, 0.5, 0.5))
    planes, moves = augment.moving(images, torch.Generator().manual_seed(seed))
    return planes, moved_boxes(targets, moves)


def seen_box(plane):
    bright = plane.mean(dim=0) > 127
    rows, columns = bright.any(dim=1).nonzero()[:, 0], bright.any(dim=0).nonzero()[:, 0]
    return torch.stack((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)).float() / plane.shape[-1]


@pytest.mark.parametrize(
    "steps",
    [
        [("horizontal_flip", {"p": 1})],
        [("vertical_flip", {"p": 0.5}), ("horizontal_flip", {"p": 0.5})],
        [("random_resized_crop", {"scale": (0.6, 1.0)}), ("horizontal_flip", {})],
        [("color_jitter", {"brightness": 0.1}), ("random_resized_crop", {"scale": (0.7, 1.0)})],
        [("random_crop", {"padding": 6})],
    ],
    ids=["flip", "flips", "crop", "crop after colour", "padding"],
)
def test_a_box_lies_where_its_pixels_went(steps):
    planes, found = augmented(steps)
    checked = 0
    for plane, target in zip(planes, found, strict=True):
        if len(target["boxes"]):
            assert target["boxes"][0].tolist() == pytest.approx(seen_box(plane).tolist(), abs=1.6 / SIDE_PX)
            checked += 1
    assert checked > 12


def test_each_label_stays_with_its_box_and_a_box_whose_centre_left_goes():
    _, found = augmented([("random_resized_crop", {"scale": (0.1, 0.3)})], count=40)
    labels = [target["labels"].tolist() for target in found]
    assert all(names in ([], [number]) for number, names in enumerate(labels))
    assert 0 < sum(map(len, labels)) < 40
    for target in found:
        assert ((target["boxes"] >= 0) & (target["boxes"] <= 1)).all()


def test_a_mosaic_shows_four_images_and_their_boxes():
    planes, found = augmented([("mosaic", {})], count=8)
    assert planes.shape == (8, 3, SIDE_PX, SIDE_PX)
    for number, (plane, target) in enumerate(zip(planes, found, strict=True)):
        assert len(target["boxes"]) == 4 and target["labels"][0] == number
        inside = plane.mean(dim=0) > 127
        for box in (target["boxes"] * SIDE_PX).round().int().tolist():
            assert inside[box[1] + 1 : box[3] - 1, box[0] + 1 : box[2] - 1].all()


def test_a_crop_of_a_mosaic_has_the_boxes_that_it_shows():
    planes, found = augmented([("mosaic", {"p": 0.5}), ("random_resized_crop", {"scale": (0.3, 0.6)})], count=40)
    assert len({len(target["boxes"]) for target in found}) > 1
    for plane, target in zip(planes, found, strict=True):
        for box in (target["boxes"] * SIDE_PX).int().tolist():
            middle = plane[:, (box[1] + box[3]) // 2, (box[0] + box[2]) // 2]
            assert middle.mean() > 127


def test_a_batch_of_many_is_moved_as_if_its_parts_were_one_batch():
    parts = [Moves.none(3), Moves.none(2)]
    assert Moves.joined(parts).sources.tolist() == [[0, 1, 2, 3, 4]]
    _, found = augmented([("mosaic", {"p": 0.0})], count=40)
    assert [target["labels"].tolist() for target in found] == [[number] for number in range(40)]


def test_a_mosaic_after_another_step_is_refused():
    with pytest.raises(UserError, match="mosaic as the first step"):
        augmented([("horizontal_flip", {}), ("mosaic", {})])
