import numpy as np
import pytest

from vision.monitoring.corruptions import CORRUPTIONS, SEVERITIES, corrupt

# What severities mean is compared across versions: a changed number is another benchmark.
GRID = {
    "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
    "blur": (1.0, 2.0, 3.0, 4.0, 6.0),
    "noise": (0.04, 0.08, 0.12, 0.18, 0.26),
    "jpeg": (25, 18, 15, 10, 7),
    "colour_cast": (0.1, 0.2, 0.3, 0.4, 0.5),
    "rotation": (5, 10, 20, 30, 45),
}


@pytest.fixture(scope="module")
def image():
    """A smooth picture with an edge, uint8 [216, 288, 3], no value near 0 or 255."""
    down, across = np.mgrid[:216, :288] / 2
    picture = np.stack([110 + 40 * np.sin(across / 9), 100 + 30 * np.cos(down / 7), 90 + (across + down) / 5], axis=2)
    picture[60:150, 90:180] += 25
    return picture.astype(np.uint8)


def test_the_grid_is_as_it_always_was():
    assert SEVERITIES == GRID and set(CORRUPTIONS) == set(GRID)


@pytest.mark.parametrize("name", GRID)
def test_every_severity_keeps_shape_and_type_and_leaves_the_image_given_alone(image, name):
    before = image.copy()
    for severity in range(1, 6):
        spoilt = corrupt(image, name, severity, seed=3)
        assert spoilt.shape == image.shape and spoilt.dtype == np.uint8
    assert (image == before).all()


@pytest.mark.parametrize("name", GRID)
def test_a_higher_severity_is_further_from_the_image(image, name):
    far = [np.abs(corrupt(image, name, severity, 3).astype(float) - image).mean() for severity in range(1, 6)]
    assert far[0] > 0 and far == sorted(far)


@pytest.mark.parametrize("name", GRID)
def test_a_corruption_is_the_same_for_the_same_seed(image, name):
    assert (corrupt(image, name, 2, seed=5) == corrupt(image, name, 2, seed=5)).all()


def test_noise_and_the_side_of_a_rotation_hang_on_the_seed(image):
    assert (corrupt(image, "noise", 2, seed=1) != corrupt(image, "noise", 2, seed=2)).any()
    assert len({corrupt(image, "rotation", 3, seed).tobytes() for seed in range(20)}) == 2


def test_corruptions_do_what_their_names_say(image):
    bright, flat, warm = (corrupt(image, name, 2).astype(float) for name in ("brightness", "contrast", "colour_cast"))
    assert bright.max(axis=2).mean() == pytest.approx(image.max(axis=2).mean() + 0.2 * 255, abs=1)
    assert flat.std() < image.std() * 0.6 and flat.mean() == pytest.approx(image.mean(), abs=1)
    assert warm[..., 0].mean() > image[..., 0].mean() and warm[..., 2].mean() < image[..., 2].mean()
    assert warm[..., 1] == pytest.approx(image[..., 1])


def test_a_rotation_shows_no_black_corners(image):
    turned = corrupt(image, "rotation", 5)
    assert turned.min() >= image.min()


def test_a_blur_is_as_strong_on_a_large_picture_as_on_a_small_one(image):
    large = image.repeat(3, axis=0).repeat(3, axis=1)
    small = corrupt(image, "blur", 3).astype(float)
    assert np.abs(corrupt(large, "blur", 3).astype(float)[1::3, 1::3] - small).mean() < 2


@pytest.mark.parametrize("side", [(1, 1), (2, 9), (32, 32)])
def test_tiny_images_are_no_trouble(side):
    image = np.full((*side, 3), 77, np.uint8)
    for name in GRID:
        assert corrupt(image, name, 5).shape == image.shape


def test_what_is_not_on_the_grid_is_refused(image):
    with pytest.raises(KeyError):
        corrupt(image, "fog", 1)
    with pytest.raises(ValueError, match="severity 6"):
        corrupt(image, "blur", 6)
    with pytest.raises(ValueError, match="float64"):
        corrupt(image / 255, "blur", 1)
    with pytest.raises(ValueError, match="uint8 \\[H, W, 3\\]"):
        corrupt(image[..., 0], "blur", 1)
