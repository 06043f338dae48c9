import subprocess
import sys

import numpy as np
import pytest
from scipy import ndimage

from vision.explain.heat import hot_areas


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.95])
def test_areas_are_those_that_scipy_finds_touching_corners_too(share):
    rng = np.random.default_rng(int(100 * share))
    for _ in range(20):
        heat = rng.random((rng.integers(1, 25), rng.integers(1, 25)))
        areas, count = ndimage.label(heat > 1 - share, structure=np.ones((3, 3)))
        found = hot_areas(heat, 1 - share)
        assert len(found) == count
        assert [hottest for hottest, _ in found] == sorted(
            ndimage.maximum(heat, areas, range(1, count + 1)), reverse=True
        )


def test_a_find_has_the_box_of_its_hotter_half_in_shares_of_the_image():
    heat = np.zeros((10, 20))
    heat[2:5, 4:8], heat[5, 4] = 4.0, 1.5
    [(hottest, box)] = hot_areas(heat)
    assert hottest == 4.0 and box == pytest.approx([3.5 / 20, 1.5 / 10, 7.5 / 20, 4.5 / 10])
    assert hot_areas(np.ones((3, 3))) == []


def test_a_server_finds_them_without_scipy():
    code = "import sys, numpy as np; sys.modules['scipy'] = None; from vision.explain.heat import hot_areas; hot_areas(np.eye(4) * 2)"
    subprocess.run([sys.executable, "-c", code], check=True)
