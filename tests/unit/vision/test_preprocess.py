"""The one preprocessing: torchvision's geometry, a cache that agrees bit for bit, and one error for bad bytes."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vision.package import InputSpec
from vision.preprocess import (
    ImageError,
    centre_crop,
    decode,
    decode_opened,
    exif_orientation,
    open_header,
    preprocess,
    to_cache,
    to_input,
    upright_size,
)  # fmt: skip

SIZES = [(256, 256), (257, 131), (131, 257), (64, 63), (63, 64), (33, 500), (500, 33), (97, 97), (40, 41), (640, 360)]
SPECS = [(24, 32), (31, 32), (32, 32), (17, 64), (30, 33), (33, 64), (31, 65), (32, 34)]


def picture(width: int, height: int) -> Image.Image:
    """Smooth, so that half a pixel of shift shows against rounding."""
    small = np.random.default_rng(width * 1000 + height).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, form: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("side_px", "resize_px"), SPECS)
def test_geometry_is_torchvisions_resize_and_center_crop(size, side_px, resize_px):
    from torchvision.transforms import v2

    image = picture(*size)
    wanted = np.asarray(v2.Compose([v2.Resize(resize_px), v2.CenterCrop(side_px)])(image)).astype(int)
    got = to_input(image, InputSpec(side_px=side_px, resize_px=resize_px)).astype(int)
    assert np.abs(got - wanted).max() <= 1  # Pillow's own rounding of a box; a shifted crop differs by tens
    assert np.abs(got - wanted).mean() < 0.3


@settings(max_examples=40, deadline=None)
@given(st.integers(8, 300), st.integers(8, 300), st.integers(16, 90), st.data())
def test_the_cache_route_is_bit_identical_to_preprocess(width, height, resize_px, data):
    spec = InputSpec(side_px=data.draw(st.integers(16, resize_px)), resize_px=resize_px)
    raw = encoded(picture(width, height), "JPEG")
    cached = to_cache(decode(raw, draft_px=spec.draft_px), spec)
    assert cached.shape == (resize_px, resize_px, 3)
    assert np.array_equal(centre_crop(cached[None], spec)[0], preprocess(raw, spec))


def test_squash_takes_the_whole_image_and_its_cache_is_the_input():
    spec = InputSpec(side_px=32, resize_px=48, crop="squash")
    raw = encoded(picture(90, 41))
    cached = to_cache(decode(raw), spec)
    assert cached.shape == (32, 32, 3)
    assert np.array_equal(centre_crop(cached[None], spec)[0], preprocess(raw, spec))


def test_centre_crop_is_a_view_so_that_a_memory_map_is_not_read():
    images = np.zeros((2, 32, 32, 3), dtype=np.uint8)
    assert np.shares_memory(centre_crop(images, InputSpec(side_px=24, resize_px=32)), images)


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "LA", "RGBA", "I;16"])
def test_every_png_mode_becomes_rgb(mode):
    image, grey = picture(40, 30), picture(40, 30).convert("L")
    image = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    got = decode(encoded(image))
    assert (got.mode, got.size) == ("RGB", (40, 30))


def test_a_jpeg_of_thousands_of_empty_scans_is_refused_by_its_header_and_a_progressive_one_is_not():
    whole = encoded(Image.new("L", (2000, 1990), 128), "JPEG", progressive=True)
    scan = whole[whole.rfind(b"\xff\xda") : -2]
    assert decode(whole).size == (2000, 1990)
    with pytest.raises(ImageError, match="scans") as caught:
        decode(whole[:-2] + scan * 3000 + b"\xff\xd9")  # 8 s to decode
    assert caught.value.reason == "unsupported"


def test_bytes_of_a_comment_that_look_like_scans_are_none():
    note = b"\xff\xda\x00" * 60
    photo = encoded(picture(40, 30), "JPEG")
    assert decode(photo[:2] + b"\xff\xfe" + struct.pack(">H", len(note) + 2) + note + photo[2:]).size == (40, 30)


def test_sixteen_bits_are_scaled_not_clipped():
    ramp = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (16, 1))
    got = np.asarray(decode(encoded(Image.fromarray(ramp))))[0, :, 0]
    assert np.abs(got.astype(int) - np.linspace(0, 255, 64)).max() <= 1


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_lies_over_white(mode):
    image = Image.new("RGBA", (16, 16), (200, 10, 10, 0))
    raw = encoded(image.convert(mode), **({"transparency": 0} if mode == "P" else {}))
    assert np.asarray(decode(raw)).min() == 255


def test_cmyk_jpeg_becomes_rgb():
    assert decode(encoded(picture(40, 30).convert("CMYK"), "JPEG")).mode == "RGB"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    raw = encoded(picture(40, 24), exif=exif.tobytes())
    assert exif_orientation(Image.open(io.BytesIO(raw))) == orientation
    wanted = ImageOps.exif_transpose(Image.open(io.BytesIO(raw)).convert("RGB"))
    assert np.array_equal(np.asarray(decode(raw)), np.asarray(wanted))


@pytest.mark.parametrize("block", [b"Exif\x00\x00garbage", b"Exif\x00\x00MM\x00*\xff\xff\xff\xff", b""])
def test_a_broken_exif_block_leaves_the_image_readable(block):
    assert decode(encoded(picture(40, 24), "JPEG", exif=block)).size == (40, 24)


def test_an_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    raw = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert np.asarray(decode(raw))[0, 0].tolist() == [255, 0, 0]


def bomb(side_px: int) -> bytes:
    """A PNG that says it is huge."""
    header = struct.pack(">IIBBBBB", side_px, side_px, 8, 2, 0, 0, 0)

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


BAD = {
    "empty": (b"", "empty"),
    "text": (b"hello, I am not an image", "unknown_format"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unknown_format"),
    "gif": (encoded(picture(20, 20), "GIF"), "unknown_format"),
    "tiff": (encoded(picture(20, 20), "TIFF"), "unknown_format"),
    "half a jpeg": (encoded(picture(200, 200), "JPEG")[:1500], "truncated"),
    "half a png": (encoded(picture(200, 200))[:900], "truncated"),
    "half a bmp": (encoded(picture(200, 200), "BMP")[:900], "truncated"),
    "half a webp": (encoded(picture(200, 200), "WEBP")[:300], "truncated"),
    "a jpeg's first bytes": (encoded(picture(200, 200), "JPEG")[:12], "truncated"),
    "bomb": (bomb(9_000), "too_many_pixels"),
    "large bomb": (bomb(60_000), "too_many_pixels"),
    "tiny": (encoded(picture(4, 4)), "too_small"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_bytes_raise_an_image_error_with_the_reason(name):
    raw, reason = BAD[name]
    with pytest.raises(ImageError) as caught:
        decode(raw)
    assert caught.value.reason == reason


def test_the_pixel_limit_is_read_from_the_header_alone():
    with pytest.raises(ImageError) as caught:
        decode(bomb(200), max_megapixels=0.03)
    assert caught.value.reason == "too_many_pixels"


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "BMP", "WEBP"]), st.data())
def test_damaged_files_raise_nothing_but_image_error(form, data):
    raw = bytearray(encoded(picture(40, 30), form))
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    raw = raw[: data.draw(st.integers(1, len(raw)))]
    with contextlib.suppress(ImageError):
        decode(bytes(raw))


def test_a_large_photo_is_halved_while_twice_the_pixels_are_left_and_differs_little():
    raw = encoded(picture(1600, 1200), "JPEG", quality=92)
    whole, drafted = (InputSpec(side_px=224, resize_px=256, decoder=name) for name in ("pil", "pil_draft"))
    assert whole.draft_px is None and decode(raw, draft_px=drafted.draft_px).size == (800, 600)
    moved = np.abs(preprocess(raw, drafted).astype(int) - preprocess(raw, whole))
    assert 0 < moved.mean() < 1.5
    small = encoded(picture(1022, 1023), "JPEG", quality=92)
    assert np.array_equal(preprocess(small, drafted), preprocess(small, whole)), "halved it would have too few pixels"


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_the_upright_size_is_that_of_the_whole_photo_whatever_was_decoded(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    raw = encoded(picture(1600, 1200), "JPEG", exif=exif.tobytes())
    header = open_header(raw)
    size_px = upright_size(header)
    assert size_px == ((1200, 1600) if orientation == 6 else (1600, 1200)) == decode(raw).size
    drafted = decode_opened(header, InputSpec(side_px=224, resize_px=256).draft_px)
    assert tuple(2 * side for side in drafted.size) == size_px
