"""Image files as they turn up in real folders: readable ones of every odd kind, and ones that can't be read."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

SIDES_PX = (48, 32)
"""Width and height; 16 divides both, so that JPEG's blocks survive a turn."""
TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""What a camera does to the upright picture that it stores with this orientation."""


def picture(seed: int, size_px: tuple[int, int] = SIDES_PX) -> Image.Image:
    """Blotches of its own for each seed, so that no two are near-duplicates."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size_px, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, form: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def turned(seed: int, orientation: int, form: str = "PNG", **options) -> bytes:
    """The picture of `seed` as a camera stores it that was held in one of eight ways."""
    exif, turn = Image.Exif(), TURNS[orientation]
    exif[0x0112] = orientation
    image = picture(seed)
    return encoded(image if turn is None else image.transpose(turn), form, exif=exif.tobytes(), **options)


def sixteen_bit(seed: int) -> bytes:
    grey = np.asarray(picture(seed).convert("L")).astype(np.uint16)
    return encoded(Image.fromarray(grey * 257))


def palette(seed: int) -> bytes:
    return encoded(picture(seed).quantize(200), transparency=3)


def animated(seed: int) -> bytes:
    frames = [picture(seed + number) for number in range(3)]
    return encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)


def black_png(side_px: int) -> bytes:
    """A whole PNG, one colour: tiny as a file, 3 bytes a pixel once decoded."""
    line = zlib.compressobj(9)
    row = b"\0" * (1 + 3 * side_px)
    body = b"".join(line.compress(row) for _ in range(side_px)) + line.flush()
    header = struct.pack(">IIBBBBB", side_px, side_px, 8, 2, 0, 0, 0)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


READABLE: dict[str, Callable[[int], bytes]] = {
    "16-bit.png": sixteen_bit,
    "cmyk.jpg": lambda seed: encoded(picture(seed).convert("CMYK"), "JPEG", quality=95),
    "palette with transparency.png": palette,
    "grey.jpg": lambda seed: encoded(picture(seed).convert("L"), "JPEG", quality=95),
    "animated.webp": animated,
}
UNREADABLE: dict[str, Callable[[int], bytes]] = {
    "text.jpg": lambda seed: b"Dear gardener, the leaf is in the next mail.\n",
    "truncated.jpg": lambda seed: encoded(picture(seed, (200, 160)), "JPEG")[:1500],
    "one pixel.png": lambda seed: encoded(picture(seed, (1, 1))),
    "zero bytes.jpg": lambda seed: b"",
    "bomb.png": lambda seed: black_png(10_000),
}
NAMES = (
    "with space.jpg",
    'it\'s "quoted" `so`.jpg',
    "früh 早朝 🌱.jpg",
    "$\\frac{$_^ <b>&amp;.jpg",
    "new\nline.jpg",
    "-rf *.jpg",
    "l" * 250 + ".jpg",
)


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def write_class(folder: Path, count: int, first_seed: int) -> None:
    """`count` sound pictures of one class."""
    for number in range(count):
        write(folder / f"{number:03d}.jpg", encoded(picture(first_seed + number), "JPEG", quality=95))
