"""The feature table: what its numbers mean, and that no file makes it raise."""

import io
import math
import time

import numpy as np
import pytest
from PIL import Image

from vision.data.features import FEATURES, describe, describe_image, perceptual_hash
from vision.preprocess import decode

RNG = np.random.default_rng(1)


def picture(side_px: int = 256, noise: float = 0.0) -> Image.Image:
    small = RNG.integers(60, 200, (8, 8, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(small).resize((side_px, side_px), Image.Resampling.BICUBIC)).astype(float)
    grain = RNG.normal(0, noise, (side_px, side_px, 1)) if noise else 0
    return Image.fromarray(np.clip(np.rint(smooth + grain), 0, 255).astype(np.uint8))


def encoded(image: Image.Image, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


def features_of(image: Image.Image) -> dict:
    return describe_image(image, b"")


def test_phash_has_the_bits_of_imagehash():
    import imagehash

    for _ in range(30):
        image = picture(200, noise=5)
        assert perceptual_hash(image.convert("L")) == str(imagehash.phash(image))


def test_training_and_serving_describe_an_image_alike():
    raw = encoded(picture(300, noise=3), "JPEG")
    row = describe(raw)
    assert {name: row[name] for name in FEATURES} == {
        n: v for n, v in describe_image(decode(raw), raw).items() if n in FEATURES
    }


def test_all_features_are_finite_floats():
    row = describe(encoded(picture(64)))
    assert all(isinstance(row[name], float) and math.isfinite(row[name]) for name in FEATURES)


def test_brightness_and_contrast_are_mean_and_deviation_of_luma():
    image = picture(100)
    luma = np.asarray(image.convert("L")) / 255
    row = features_of(image)
    assert row["brightness"] == pytest.approx(luma.mean())
    assert row["contrast"] == pytest.approx(luma.std())


def test_colours_point_the_right_way():
    red, green, grey = (features_of(Image.new("RGB", (32, 32), c)) for c in ("#c02020", "#20c020", "#808080"))
    assert red["warmth"] > 0.5 > grey["warmth"] == 0
    assert green["greenness"] > 0.5 > grey["greenness"] == 0
    assert red["saturation"] > 0.8 > grey["saturation"] == 0


def test_sharpness_is_the_variance_of_the_laplacian():
    image = picture(64, noise=8)
    grey = np.asarray(image.convert("L")).astype(float)
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    assert features_of(image)["sharpness"] == pytest.approx(math.log10(laplacian.var() + 1), rel=1e-4)


@pytest.mark.parametrize("sigma", [4, 10, 20])
def test_noise_is_the_deviation_of_added_noise(sigma):
    assert features_of(picture(256, noise=sigma))["noise"] * 255 == pytest.approx(sigma, rel=0.1)


def test_features_hardly_move_with_the_size_of_the_picture():
    large = picture(1024)
    row, small = features_of(large), features_of(large.resize((256, 256), Image.Resampling.BILINEAR))
    for name in ("brightness", "contrast", "saturation", "warmth", "greenness", "entropy"):
        assert row[name] == pytest.approx(small[name], abs=0.02), name


def test_a_blank_image_is_blank_and_has_no_perceptual_hash():
    row = features_of(Image.new("RGB", (64, 64), (40, 42, 41)))
    assert row["blank"] is True
    assert row["phash"] is None


def test_a_burnt_out_image_is_burnt_and_a_photo_is_not():
    pixels = np.asarray(picture(64)).copy()
    pixels[:58] = 255
    assert features_of(Image.fromarray(pixels))["burnt"] is True
    assert features_of(picture(64))["burnt"] is False


@pytest.mark.parametrize("raw", [b"", b"text", encoded(picture(64), "JPEG")[:500], encoded(picture(4))])
def test_a_bad_file_is_a_row_with_its_error(raw):
    row = describe(raw)
    assert ": " in row["error"]
    assert row["phash"] is None
    assert len(row["sha256"]) == 64
    assert row["file_bytes"] == len(raw)


def test_the_header_is_told_as_it_was():
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    picture(64).resize((64, 40)).convert("L").save(file, "JPEG", exif=exif.tobytes())
    row = describe(file.getvalue())
    assert (row["format"], row["mode"], row["exif_orientation"], row["frames"]) == ("JPEG", "L", 6, 1)
    assert (row["width_px"], row["height_px"]) == (40, 64)


@pytest.mark.parametrize("size", [(8, 8), (8, 4000), (4000, 8), (9, 300)])
def test_odd_sizes_are_described(size):
    row = features_of(picture(64).resize(size))
    assert all(math.isfinite(row[name]) for name in FEATURES)


@pytest.mark.system
def test_describing_a_256_px_image_takes_under_a_millisecond_of_cpu():
    image = picture(256)
    start = time.process_time()
    for _ in range(100):
        describe_image(image, b"")
    assert (time.process_time() - start) / 100 < 1e-3
