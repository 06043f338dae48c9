import numpy as np
import pytest

from vision.explain.pointing import TOLERANCE, hit_area, mask_input, play, points_at, rate
from vision.package import InputSpec

SIDE_PX = 100


def spot(row, column, size=8):
    mask = np.zeros((SIDE_PX, SIDE_PX), bool)
    mask[row : row + size, column : column + size] = True
    return mask


def heat(row, column, cells=25):
    found = np.zeros((cells, cells), np.float32)
    found[row, column] = 1.0
    return found


def test_heat_on_the_lesion_is_a_hit_and_heat_elsewhere_is_none():
    area = hit_area(spot(40, 60))
    hits = play([heat(10, 15), heat(2, 2), np.zeros((25, 25))], [area] * 3)
    assert hits.tolist() == [True, False, False]


def test_the_tolerance_is_a_share_of_the_side():
    area = hit_area(spot(40, 60, 1))
    reach = np.flatnonzero(area[40]) - 60
    assert reach.max() == -reach.min() == int(TOLERANCE * SIDE_PX)


def test_the_point_is_where_the_overlay_shows_the_most_heat():
    row, column = points_at(heat(6, 20), SIDE_PX)
    assert 24 <= row <= 27 and 80 <= column <= 83


def test_chance_is_the_area_and_an_image_without_lesions_has_none():
    assert hit_area(spot(0, 0, SIDE_PX)).mean() == 1.0
    assert hit_area(np.zeros((SIDE_PX, SIDE_PX), bool)).mean() == 0.0


def test_the_mask_is_cut_as_the_image_is():
    mask = np.zeros((60, 120), np.uint8)
    mask[:, :60] = 255  # the left half of a wide photograph
    shown = mask_input(mask, InputSpec(side_px=32, resize_px=40))
    assert shown.shape == (32, 32) and shown[:, :15].all() and not shown[:, 17:].any()


def test_a_rate_has_an_interval_that_narrows_and_stays_in_bounds():
    few, many = rate(np.ones(10, bool)), rate(np.ones(1000, bool))
    assert (few.value, few.high) == (1.0, 1.0) and few.low == pytest.approx(0.722, abs=0.001)
    assert few.low < many.low < 1.0
