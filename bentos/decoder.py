"""Decoding in threads: never in the event loop, and never behind someone else's huge image."""

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from PIL import Image

from bentos.batcher import Overloaded
from vision.data.features import FEATURES, measure_image
from vision.package import InputSpec
from vision.preprocess import decode_opened, open_header, to_input

LARGE_PIXELS = 4_000_000
"""From here on an image takes tens of milliseconds and waits in a line of its own (1080p has 2 million)."""
LARGE_SHARE = 2
"""At most this part of the places, one in two, may be taken by large images: they can't crowd out the small ones."""
UNMEASURED = dict.fromkeys(FEATURES, math.nan)
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Decoded:
    """size_px: (width, height) of the upright image. features: `measure_image`'s, or UNMEASURED. decode_s: without waiting."""

    size_px: tuple[int, int]
    features: dict[str, float]
    decode_s: float


class Sampler:
    """Yes at most `per_s` times a second, after a pause up to `per_s` times at once. For threads: a race gives one more."""

    def __init__(self, per_s: float) -> None:
        self._per_s, self._free, self._at_s = per_s, max(1.0, per_s), time.monotonic()

    def take(self) -> bool:
        now_s = time.monotonic()
        self._free = min(max(1.0, self._per_s), self._free + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._per_s == 0 or self._free < 1:
            return False
        self._free -= 1
        return True


class Decoder:
    """The threads of one worker."""

    def __init__(self, threads: int, max_megapixels: float, max_queue: int, features_per_s: float) -> None:
        """features_per_s: images that are described; of the others no feature is known, and their answers cost less."""
        self._max_megapixels, self._sampler = max_megapixels, Sampler(features_per_s)
        self._small = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._large = ThreadPoolExecutor(max(1, threads // LARGE_SHARE), thread_name_prefix="decode-large")
        self._large_held, self._large_places = 0, max(1, max_queue // LARGE_SHARE)

    async def decode(self, data: bytes, spec: InputSpec, use: Callable[[np.ndarray], None]) -> Decoded:
        """Hands the model's input, uint8 [S, S, 3], to `use` as soon as it is there; describes the image after that,
        while the engine works. Raises `ImageError`, and `Overloaded` when too many large images wait.
        """

        def small() -> Image.Image | Decoded:
            header = open_header(data, self._max_megapixels)
            if header.width * header.height >= LARGE_PIXELS:
                return header
            return self._finish(header, data, spec, use)

        found = await asyncio.get_running_loop().run_in_executor(self._small, small)
        if isinstance(found, Decoded):
            return found
        return await self.aside(self._finish, found, data, spec, use)

    async def aside(self, work: Callable[..., Result], *arguments: object) -> Result:
        """Runs slow work among the large images. Raises `Overloaded` when too much of it waits."""
        if self._large_held >= self._large_places:
            raise Overloaded(1.0)
        self._large_held += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._large, work, *arguments)
        finally:
            self._large_held -= 1

    def close(self) -> None:
        self._small.shutdown(wait=True, cancel_futures=True)
        self._large.shutdown(wait=True, cancel_futures=True)

    def _finish(self, header: Image.Image, data: bytes, spec: InputSpec, use: Callable[[np.ndarray], None]) -> Decoded:
        start_s = time.perf_counter()
        image = decode_opened(header)
        use(to_input(image, spec))
        features = measure_image(image, data) if self._sampler.take() else UNMEASURED
        return Decoded(image.size, features, time.perf_counter() - start_s)
