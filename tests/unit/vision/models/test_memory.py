"""Which patches a memory keeps, what it measures, and where its heat lies in the image."""

import numpy as np
import pytest
import torch

from vision.explain.heat import FINER, hot_areas, hottest_point, laid
from vision.models.coreset import coreset
from vision.models.memory import locally_normalised, nearest


def test_a_rare_patch_is_kept_among_many_alike():
    patches = torch.randn(3000, 4, generator=torch.Generator().manual_seed(0)) * 0.1
    patches[1234] += 5
    kept = coreset(patches, 20, seed=0)
    assert 1234 in kept and len(set(kept.tolist())) == 20


def test_the_kept_patches_leave_none_far_from_them():
    patches = torch.randn(2000, 3, generator=torch.Generator().manual_seed(1))
    greedy, drawn = patches[coreset(patches, 50, seed=0)], patches[:50]
    assert nearest(patches, greedy).max() < 0.7 * nearest(patches, drawn).max()


def test_all_patches_are_kept_where_there_is_room():
    assert sorted(coreset(torch.randn(7, 2), 20, seed=0).tolist()) == list(range(7))


def test_the_nearest_distance_is_the_euclidean_one():
    patches, memory = torch.randn(2, 5, 8), torch.randn(11, 8)
    np.testing.assert_allclose(nearest(patches, memory), torch.cdist(patches, memory).amin(-1), atol=1e-4)


def test_uneven_light_is_normalised_away():
    picture = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    light = torch.linspace(1, 4, 40)
    seen = [locally_normalised(image, 9)[..., 8:-8, 8:-8] for image in (picture, picture * light, picture + 2)]
    assert torch.corrcoef(torch.stack([seen[0].flatten(), seen[1].flatten()]))[0, 1] > 0.97
    assert torch.allclose(seen[0], seen[2], atol=1e-3)


def test_a_place_of_the_heat_lies_where_its_unit_looks():
    heat = np.zeros((8, 8))
    heat[2, 5] = 3.0
    fine = laid(heat)
    assert fine.shape == (8 * FINER, 8 * FINER)
    row, column = np.unravel_index(fine.argmax(), fine.shape)
    assert abs((row + 0.5) / FINER - 2) <= 0.5 and abs((column + 0.5) / FINER - 5) <= 0.5
    assert hottest_point(heat) == (5 / 8, 2 / 8)


def test_areas_above_the_limit_become_boxes_the_hottest_first():
    heat = np.zeros((8, 8))
    heat[1:3, 1:4], heat[6, 6], heat[5, 7] = 1.5, 2.5, 1.4
    heat[0, 1] = 0.9
    (hottest, box), (second, other) = hot_areas(heat)
    assert (hottest, second) == (2.5, 1.5)
    np.testing.assert_allclose(box, np.array([5.5, 4.5, 7.5, 6.5]) / 8)
    np.testing.assert_allclose(other, np.array([0.5, 0.5, 3.5, 2.5]) / 8)


def test_a_hot_find_is_boxed_without_its_warm_surroundings():
    heat = np.full((9, 9), 1.2)
    heat[4, 4] = 6.0
    [(_, box)] = hot_areas(heat)
    np.testing.assert_allclose(box, np.array([3.5, 3.5, 4.5, 4.5]) / 9)


def test_no_heat_above_the_limit_has_no_box():
    assert hot_areas(np.full((4, 4), 0.99)) == []


@pytest.mark.parametrize("side", [3, 4])
def test_windows_need_a_middle(side):
    from vision.models.config import MemoryConfig

    if side % 2:
        assert MemoryConfig(neighbourhood=side).neighbourhood == side
    else:
        with pytest.raises(ValueError, match="must be odd, got 4"):
            MemoryConfig(neighbourhood=side)


def test_the_normalisation_bears_bfloat16_which_processors_serve_in():
    picture = 1 + 0.3 * torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    exact, rounded = locally_normalised(picture, 9), locally_normalised(picture.bfloat16(), 9).float()
    assert (exact - rounded).abs().mean() < 0.05
