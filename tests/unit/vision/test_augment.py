import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from vision.augment import build_augment
from vision.augment_color import _PARTS, color_jitter, gaussian_blur, grayscale, random_erasing
from vision.errors import UserError
from vision.package import InputSpec
from vision.preprocess import centre_crop
from vision.training.config import AugmentStep

SPEC = InputSpec(side_px=24, resize_px=32)
MEAN = (0.5, 0.4, 0.3)
NINE_STEPS = [
    ("random_resized_crop", {"scale": (0.8, 1.0)}),
    ("horizontal_flip", {"p": 0.5}),
    ("vertical_flip", {"p": 0.2}),
    ("rotation", {"degrees": 20}),
    ("color_jitter", {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.05}),
    ("gaussian_blur", {"kernel_size": 3, "p": 0.2}),
    ("random_erasing", {"p": 0.1}),
]


def smooth_images(count, side_px=32, seed=0):
    """uint8 [count, side, side, 3] whose neighbours differ little, so that resampling can be compared."""
    coarse = torch.rand(count, 3, 5, 5, generator=torch.Generator().manual_seed(seed)) * 255
    fine = torch.nn.functional.interpolate(coarse, size=side_px, mode="bicubic", align_corners=True)
    return fine.clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def augmented(steps, images, seed=0, spec=SPEC):
    steps = [AugmentStep(name=name, args=args) for name, args in steps]
    return build_augment(steps, spec, MEAN)(images, torch.Generator().manual_seed(seed))


def planes(images):
    return images.permute(0, 3, 1, 2).float()


def test_no_steps_give_the_centre_crops_that_evaluation_sees():
    images = smooth_images(3)
    assert torch.equal(augmented([], images), planes(centre_crop(images, SPEC)))


def test_nine_steps_give_images_of_the_right_shape_and_range_the_same_for_the_same_seed():
    images = smooth_images(40)
    first, again, other = (augmented(NINE_STEPS, images, seed) for seed in (1, 1, 2))
    assert first.shape == (40, 3, 24, 24) and first.dtype == torch.float32
    assert first.min() >= 0 and first.max() <= 255.01
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_each_image_of_a_batch_gets_parameters_of_its_own():
    one = smooth_images(1)
    result = augmented([("random_resized_crop", {}), ("color_jitter", {"brightness": 0.4})], one.repeat(12, 1, 1, 1))
    assert len({tuple(image.flatten()[:50].tolist()) for image in result}) == 12


def test_flips_are_exact_and_as_frequent_as_asked():
    images = smooth_images(300)
    crops = planes(centre_crop(images, SPEC))
    for name, axis in (("horizontal_flip", 3), ("vertical_flip", 2)):
        result = augmented([(name, {"p": 0.3})], images)
        flipped = (result - crops.flip(axis)).abs().amax(dim=(1, 2, 3)) < 1e-2
        kept = (result - crops).abs().amax(dim=(1, 2, 3)) < 1e-2
        assert torch.all(flipped | kept)
        assert 0.2 < flipped.float().mean() < 0.4


def test_padded_random_crop_takes_whole_pixel_windows_of_the_image_in_black():
    spec = InputSpec(side_px=32, resize_px=32)
    images = smooth_images(20)
    result = augmented([("random_crop", {"padding": 4})], images, spec=spec)
    padded = torch.nn.functional.pad(planes(images), (4, 4, 4, 4))
    windows = padded.unfold(2, 32, 1).unfold(3, 32, 1).flatten(2, 3)
    misses = (windows - result[:, :, None]).abs().amax(dim=(1, 3, 4)).amin(dim=1)
    assert misses.max() < 1e-2


def test_random_resized_crop_shows_a_part_of_the_asked_area():
    ramp = torch.arange(64, dtype=torch.float32) * 4
    channels = [ramp.expand(64, 64), ramp[:, None].expand(64, 64), torch.zeros(64, 64)]
    image = torch.stack(channels, dim=-1).to(torch.uint8)
    spec = InputSpec(side_px=32, resize_px=64)
    result = augmented([("random_resized_crop", {"scale": (0.25, 0.5)})], image.expand(200, 64, 64, 3), spec=spec)
    # The ramps say where the first and last pixel centres lie in the source.
    width = (result[:, 0, 16, -1] - result[:, 0, 16, 0]) / 4 * (32 / 31) / 64
    height = (result[:, 1, -1, 16] - result[:, 1, 0, 16]) / 4 * (32 / 31) / 64
    area, ratio = width * height, width / height
    assert area.min() > 0.22 and area.max() < 0.54 and area.std() > 0.03
    assert ratio.min() > 0.7 and ratio.max() < 1.42


def test_rotation_after_a_crop_brings_in_black_not_what_the_crop_cut_off():
    white = torch.full((30, 32, 32, 3), 255, dtype=torch.uint8)
    result = augmented([("random_crop", {}), ("rotation", {"degrees": (44, 45)})], white)
    assert torch.all(result[:, :, 0, 0] == 0) and torch.all(result[:, :, -1, -1] == 0)
    assert torch.all(result[:, :, 12, 12] > 254)


def test_shrinking_to_less_than_half_averages_instead_of_skipping_pixels():
    checkered = (
        ((torch.arange(96)[:, None] + torch.arange(96)) % 2 * 255).to(torch.uint8)[None, :, :, None].repeat(4, 1, 1, 3)
    )
    spec = InputSpec(side_px=24, resize_px=96)
    result = augmented([("random_resized_crop", {"scale": (0.9, 1.0)})], checkered, spec=spec)
    assert result.std() < 40


def test_rotation_turns_as_torchvision_does():
    images = smooth_images(2)
    spec = InputSpec(side_px=32, resize_px=32)
    result = augmented([("rotation", {"degrees": (30, 30.0001)})], images, spec=spec)
    wanted = reference.rotate(planes(images), 30, interpolation=reference.InterpolationMode.BILINEAR)
    assert (result - wanted)[:, :, 8:24, 8:24].abs().max() < 2


@pytest.mark.parametrize(
    ("part", "factor", "adjust"),
    [
        ("brightness", 1.3, reference.adjust_brightness),
        ("contrast", 0.7, reference.adjust_contrast),
        ("saturation", 1.6, reference.adjust_saturation),
        ("hue", 0.2, reference.adjust_hue),
        ("hue", -0.35, reference.adjust_hue),
    ],
)
def test_colour_parts_equal_torchvisions(part, factor, adjust):
    images = torch.cat([planes(smooth_images(3)), planes(torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8))])
    found = _PARTS[part](images, torch.full((6, 1, 1), factor))
    wanted = adjust(images / 255, factor) * 255
    assert (found - wanted).abs().max() < 0.05


def test_grays_keep_their_colour_under_a_turn_of_hue():
    gray = torch.full((2, 3, 4, 4), 77.0)
    assert torch.allclose(_PARTS["hue"](gray, torch.full((2, 1, 1), 0.3)), gray)


def test_blur_equals_torchvisions_and_spares_the_rest():
    images = planes(torch.randint(0, 256, (50, 16, 16, 3), dtype=torch.uint8))
    generator = torch.Generator().manual_seed(0)
    result = gaussian_blur(images, {"kernel_size": 5, "sigma": (1.5, 1.5), "p": 0.4}, generator)
    changed = (result != images).flatten(1).any(dim=1)
    assert 8 < changed.sum() < 32
    wanted = reference.gaussian_blur(images[changed], [5, 5], [1.5, 1.5])
    assert torch.allclose(result[changed], wanted, atol=1e-2)


def test_erased_boxes_hold_the_mean_colour_and_the_asked_share_of_the_image():
    images = torch.full((400, 3, 40, 40), 255.0)
    result = random_erasing(images, {"p": 0.5, "scale": (0.1, 0.2)}, MEAN, torch.Generator().manual_seed(0))
    erased = (result != 255).all(dim=1)
    shares = erased.flatten(1).float().mean(dim=1)
    hit = shares > 0
    assert 150 < hit.sum() < 250
    assert shares[hit].min() > 0.08 and shares[hit].max() < 0.22
    first = int(hit.nonzero()[0])
    assert torch.allclose(result[first, :, erased[first]][:, 0], torch.tensor(MEAN) * 255)


def test_grayscale_makes_the_channels_equal():
    images = planes(smooth_images(4))
    result = grayscale(images, {"p": 1.0}, torch.Generator().manual_seed(0))
    assert torch.equal(result[:, 0], result[:, 2])


def test_rand_augment_draws_for_each_image_and_repeats_for_a_seed():
    images = smooth_images(1).repeat(6, 1, 1, 1)
    state = torch.get_rng_state()
    first, again = (augmented([("rand_augment", {"magnitude": 9})], images, seed=3) for _ in range(2))
    assert torch.equal(first, again)
    assert len({image.sum().item() for image in first}) > 2
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("horizontal_flip", {"p": 1.5}),
        ("horizontal_flip", {"chance": 0.5}),
        ("random_resized_crop", {"scale": (0.9, 0.2)}),
        ("color_jitter", {"hue": 0.7}),
        ("color_jitter", {"gamma": 0.1}),
        ("gaussian_blur", {"kernel_size": 4}),
        ("random_erasing", {"scale": (0.0, 2.0)}),
        ("rand_augment", {"size": 3}),
    ],
)
def test_wrong_arguments_are_refused_before_training_with_the_steps_name(name, args):
    with pytest.raises(UserError, match=name):
        build_augment([AugmentStep(name=name, args=args)], SPEC, MEAN)


def test_colour_jitter_without_ranges_changes_nothing():
    images = planes(smooth_images(2))
    assert np.array_equal(color_jitter(images, {}, torch.Generator().manual_seed(0)), images)
