"""Decoding in threads: never in the event loop, and never behind someone else's huge image.

Where a worker has one core, nothing is gained by a thread that decodes beside the one that runs the engine, and some
is lost by handing images over between them (5 to 10 % of the CPU of a MobileNetV3-Small request): there the engine's
thread decodes its images itself, batch by batch.
"""

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from PIL import Image

from bentos.batching.batch import Place
from bentos.batching.batcher import Overloaded
from bentos.resources import spare_cores
from configs.serving import ServingConfig
from vision.data.features import FEATURES, measure_image
from vision.package import InputSpec
from vision.preprocess import ImageError, decode_opened, open_header, to_input

LARGE_PIXELS = 4_000_000
"""From here on an image takes tens of milliseconds and waits in a line of its own (1080p has 2 million)."""
LARGE_PROGRESSIVE = 1_000_000
"""The same for a progressive JPEG, whose pixels cost three times as much, and more the more scans it has."""
ENGINE_BYTES = 2**20
"""The engine's thread takes files up to here: even a header that is made to be long is soon read."""
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
    """Yes at most `per_s` times a second, after a pause up to `per_s` times at once."""

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

    def give_back(self) -> None:
        """What was taken was not needed."""
        self._free += 1


class Large(Exception):
    """An image that takes long to decode, in a small file."""


def is_large(header: Image.Image) -> bool:
    """header: as `open_header` gives it."""
    return header.width * header.height >= (LARGE_PROGRESSIVE if "progressive" in header.info else LARGE_PIXELS)


class Decoder:
    """The threads of one worker, and what they leave to the engine's. `fill` and `aside` belong to the event loop."""

    def __init__(
        self, threads: int, max_megapixels: float, max_queue: int, features_per_s: float, beside: bool = True
    ) -> None:
        """features_per_s: images that are described; of the others no feature is known, and their answers cost less.

        beside: decode beside the engine also what its own thread could decode.
        """
        self._max_megapixels, self._sampler, self._beside = max_megapixels, Sampler(features_per_s), beside
        self._small = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._large = ThreadPoolExecutor(max(1, threads // LARGE_SHARE), thread_name_prefix="decode-large")
        self._large_held, self._large_places = 0, max(1, max_queue // LARGE_SHARE)

    async def fill(self, place: Place, data: bytes, spec: InputSpec) -> Decoded:
        """Puts the model's input, uint8 [S, S, 3], into `place`. Raises `ImageError`, and `Overloaded` when too many
        large images wait.
        """
        describe = self._sampler.take()
        if not (self._beside or describe) and len(data) <= ENGINE_BYTES:
            try:
                return await self._fill_in_turn(place, data, spec)
            except Large:
                place.renew()
        try:
            return await self._fill_ahead(place, data, spec, describe)
        except ImageError:
            if describe:
                self._sampler.give_back()
            raise

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

    async def _fill_in_turn(self, place: Place, data: bytes, spec: InputSpec) -> Decoded:
        """By the engine's thread, with its batch. Raises what the engine raises as well, and `Large`."""
        decoded: Decoded | None = None

        def make() -> np.ndarray:
            nonlocal decoded
            start_s = time.perf_counter()
            header = open_header(data, self._max_megapixels)
            if is_large(header):
                raise Large
            image = decode_opened(header)
            found = to_input(image, spec)
            decoded = Decoded(image.size, UNMEASURED, time.perf_counter() - start_s)
            return found

        place.put_work(make)
        await place.answer
        return decoded

    async def _fill_ahead(self, place: Place, data: bytes, spec: InputSpec, describe: bool) -> Decoded:
        """By threads of its own, as soon as one is free. Describes the image when it is put, while the engine works."""

        def small() -> Image.Image | Decoded:
            start_s = time.perf_counter()
            header = open_header(data, self._max_megapixels)
            return header if is_large(header) else finish(header, start_s)

        def finish(header: Image.Image, start_s: float) -> Decoded:
            image = decode_opened(header)
            place.put(to_input(image, spec))
            features = measure_image(image, data) if describe else UNMEASURED
            return Decoded(image.size, features, time.perf_counter() - start_s)

        found = await asyncio.get_running_loop().run_in_executor(self._small, small)
        if isinstance(found, Decoded):
            return found
        return await self.aside(lambda: finish(found, time.perf_counter()))


def open_decoder(serving: ServingConfig) -> Decoder:
    return Decoder(
        serving.decode_threads,
        serving.max_megapixels,
        serving.max_queue,
        serving.features_per_s,
        beside=spare_cores(serving),
    )
