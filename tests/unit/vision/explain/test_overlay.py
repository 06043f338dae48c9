import numpy as np
from PIL import Image

from vision.explain.overlay import overlay, overlay_whole
from vision.package import InputSpec

IMAGE = np.full((30, 50, 3), 120, np.uint8)


def test_overlay_keeps_the_image_where_the_heatmap_is_zero():
    assert np.array_equal(overlay(IMAGE, np.zeros((3, 5), np.float32)), IMAGE)


def test_overlay_colours_the_place_that_decided():
    heatmap = np.zeros((3, 5), np.float32)
    heatmap[2, 4] = 0.02
    drawn = overlay(IMAGE, heatmap)
    assert drawn.shape == IMAGE.shape
    assert drawn.dtype == np.uint8
    assert drawn[-1, -1, 0] > 150
    assert drawn[-1, -1, 2] < 100
    assert np.array_equal(drawn[:10, :20], IMAGE[:10, :20])


def test_the_heat_of_a_centre_crop_lies_in_the_middle_of_a_wide_photograph():
    photograph = Image.new("RGB", (200, 100), (90, 90, 90))
    spec = InputSpec(side_px=32, resize_px=40, crop="center")
    drawn = overlay_whole(photograph, np.ones((2, 2), np.float32), spec, side_px=100).astype(int)
    warm = np.argwhere((drawn != 90).any(axis=2))
    assert drawn.shape == (50, 100, 3)
    assert warm.min(axis=0).tolist() == [5, 30] and warm.max(axis=0).tolist() == [44, 69]


def test_a_squashed_photograph_is_covered_whole():
    spec = InputSpec(side_px=32, resize_px=32, crop="squash")
    drawn = overlay_whole(Image.new("RGB", (60, 30), (90, 90, 90)), np.ones((2, 2), np.float32), spec, side_px=100)
    assert drawn.shape == (30, 60, 3) and (drawn != 90).any(axis=2).all()
