"""The one preprocessing: file bytes -> uint8 [H, W, 3], in training's cache, evaluation, export and the service alike.

Geometry is torchvision's `Resize(resize_px)` (bilinear, antialiased) and `CenterCrop(side_px)`, rounding included; both
happen in one Pillow call, which never makes the pixels that the crop throws away (Pillow may then round a value the
other way: 1 of 255). The input is always cut out of the `resize_px` square that the cache stores, so that the cache and
the service agree bit for bit.
"""

import io
from typing import Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from vision.package import InputSpec

FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
MIN_SIDE_PX = 8
"""Below this there is nothing to look at."""

Reason = Literal["empty", "unknown_format", "truncated", "too_many_pixels", "too_small", "unsupported"]

MAX_SCANS = 50
"""Of a JPEG; encoders write up to about 15. Each costs a pass over all blocks and as little as 14 bytes: without a limit
a file of 60 kB and 4 megapixels takes 8 seconds."""

_SCAN = b"\xff\xda\x00"
_SCANS = tuple(_SCAN + bytes((6 + 2 * count, count)) for count in (1, 2, 3, 4))
"""How a scan of so many components begins; within a scan the marker can't occur."""
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM")
_ORIENTATION_TAG = 0x0112
FIRST_ON_ITS_SIDE = 5
"""EXIF orientations from here on exchange width and height."""
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageError(Exception):
    """Bytes that can't become an image. `reason` is for machines, the text for people."""

    def __init__(self, reason: Reason, message: str) -> None:
        self.reason, self.message = reason, message
        super().__init__(f"{reason}: {message}")

    def __reduce__(self):
        """Survives pickling between processes: two arguments, not one message."""
        return type(self), (self.reason, self.message)


def open_header(data: bytes, max_megapixels: float = 50.0) -> Image.Image:
    """The image with its header read and its pixels not: format, mode and size are known, memory is not spent.

    Raises `ImageError` for bytes that are no image of `FORMATS`, and for one with more pixels than allowed.
    """
    if not data:
        raise ImageError("empty", "the file has no bytes")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise ImageError("too_many_pixels", f"far more than {max_megapixels:g} megapixels are allowed") from None
    except UnidentifiedImageError:
        if _begins_like_an_image(data):
            raise ImageError("truncated", f"the header is broken or cut off after {len(data)} bytes") from None
        raise ImageError("unknown_format", f"not one of {', '.join(FORMATS)}") from None
    except (EOFError, OSError, SyntaxError, ValueError) as error:
        raise ImageError("truncated", f"its header can't be read ({error})") from None
    except Exception as error:  # Pillow's parsers raise whatever else a hostile header makes them raise
        raise ImageError("unsupported", f"its header can't be read ({type(error).__name__}: {error})") from None
    width_px, height_px = image.size
    if width_px * height_px > max_megapixels * 1e6:
        megapixels = width_px * height_px / 1e6
        raise ImageError("too_many_pixels", f"{megapixels:.1f} megapixels, {max_megapixels:g} are allowed")
    if min(image.size) < MIN_SIDE_PX:
        raise ImageError("too_small", f"{width_px} x {height_px} px, each side needs at least {MIN_SIDE_PX}")
    if data.startswith(_MAGIC[0]) and (scans := _scans(data)) > MAX_SCANS:
        raise ImageError("unsupported", f"a JPEG of {scans} scans, {MAX_SCANS} are allowed")
    return image


def _scans(data: bytes) -> int:
    """Of a JPEG file; where there can be no more than `MAX_SCANS`, that bound: each look at a large file costs time."""
    at_most = data.count(_SCAN)
    return at_most if at_most <= MAX_SCANS else sum(map(data.count, _SCANS))


def decode(data: bytes, max_megapixels: float = 50.0, draft_px: int | None = None) -> Image.Image:
    """RGB, upright by EXIF, first frame, transparency over white, 16 bits scaled to 8.

    `draft_px` lets the JPEG decoder halve a large photo while each side keeps that many pixels (`InputSpec.draft_px`).

    Raises `ImageError`, and nothing else, for any bytes.
    """
    return decode_opened(open_header(data, max_megapixels), draft_px)


def decode_opened(image: Image.Image, draft_px: int | None = None) -> Image.Image:
    """The second half of `decode`, for who has asked the header something first."""
    try:
        if draft_px is not None:
            image.draft(None, (draft_px, draft_px))
        image.load()
        rgb = _to_rgb(image)
    except (EOFError, OSError) as error:
        raise ImageError("truncated", f"its pixels can't be read ({error})") from None
    except Exception as error:  # as above: decoders raise SyntaxError, ValueError, struct.error, MemoryError ...
        raise ImageError("unsupported", f"its pixels can't be read ({type(error).__name__}: {error})") from None
    turn = _UPRIGHT.get(exif_orientation(image))
    return rgb if turn is None else rgb.transpose(turn)


def exif_orientation(image: Image.Image) -> int:
    """1..8; 1 (upright) where EXIF says nothing or nonsense. A broken EXIF block doesn't make an image unreadable."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # getexif parses untrusted TIFF structures
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright_size(header: Image.Image) -> tuple[int, int]:
    """(width, height) that the whole image will have once it is decoded. header: as `open_header` gives it."""
    return header.size[::-1] if exif_orientation(header) >= FIRST_ON_ITS_SIDE else header.size


def to_cache(image: Image.Image, spec: InputSpec) -> np.ndarray:
    """RGB image -> uint8 [R, R, 3]: short side resized to R = resize_px, centre kept; `squash`: all, R = side_px."""
    if spec.crop == "squash":
        return np.array(image.resize((spec.side_px, spec.side_px), Image.Resampling.BILINEAR))
    return np.array(_resize_crop(image, spec))


def centre_crop(images: np.ndarray, spec: InputSpec) -> np.ndarray:
    """uint8 [N, R, R, 3] from `to_cache` -> view uint8 [N, S, S, 3]; a view, so a memory map stays on disk."""
    start = _crop_start(images.shape[1], spec.side_px)
    stop = start + spec.side_px
    return images[:, start:stop, start:stop]


def to_input(image: Image.Image, spec: InputSpec) -> np.ndarray:
    """RGB image -> uint8 [S, S, 3], S = side_px."""
    return np.ascontiguousarray(centre_crop(to_cache(image, spec)[None], spec)[0])


def input_box(size_px: tuple[int, int], spec: InputSpec) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) in pixels of an upright image of `size_px` = (width, height): what the model sees of it."""
    width, height = size_px
    if spec.crop == "squash":
        return 0.0, 0.0, float(width), float(height)
    scale = min(size_px) / spec.resize_px
    side = spec.side_px * scale
    return (width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2


def preprocess(data: bytes, spec: InputSpec, max_megapixels: float = 50.0) -> np.ndarray:
    """File bytes -> uint8 [S, S, 3]. Raises `ImageError`."""
    return to_input(decode(data, max_megapixels, spec.draft_px), spec)


def _begins_like_an_image(data: bytes) -> bool:
    return data.startswith(_MAGIC) or (data.startswith(b"RIFF") and data[8:12] == b"WEBP")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"mode {image.mode} has no agreed range")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    # Pillow would copy: at 1080p that takes a tenth of the time of decoding.
    return image if image.mode == "RGB" else image.convert("RGB")


def _resize_crop(image: Image.Image, spec: InputSpec) -> Image.Image:
    """Resize(R) and the R x R crop in one call: the crop's box, in the pixels of the image, is resized to R x R."""
    side, short = spec.resize_px, min(image.size)
    sizes = [side if length == short else int(side * length / short) for length in image.size]  # torchvision truncates
    left, top = (_cache_start(length, spec) for length in sizes)
    if image.size == tuple(sizes):
        return image.crop((left, top, left + side, top + side))
    across, down = image.width / sizes[0], image.height / sizes[1]
    # A box that ends a rounding error outside the image would be refused.
    box = (
        left * across,
        top * down,
        min((left + side) * across, image.width),
        min((top + side) * down, image.height),
    )
    return image.resize((side, side), Image.Resampling.BILINEAR, box=box)


def _cache_start(length_px: int, spec: InputSpec) -> int:
    """Where the R square starts, so that its own centre crop is torchvision's crop of the whole resized image."""
    return _crop_start(length_px, spec.side_px) - _crop_start(spec.resize_px, spec.side_px)


def _crop_start(length_px: int, side_px: int) -> int:
    """torchvision's `center_crop`: half to even, as Python's round."""
    return round((length_px - side_px) / 2)
