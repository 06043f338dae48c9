import numpy as np

from vision.explain.overlay import overlay

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
