"""Decoding in threads: never in the event loop, and never behind someone else's huge image.

Where a worker has one core, nothing is gained by a thread that decodes beside the one that runs the engine, and some
is lost by handing images over between them (5 to 10 % of the CPU of a MobileNetV3-Small request): there the engine's
thread decodes its images itself, batch by batch.
"""

import asyncio
import math
import threading
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
from vision.preprocess import ImageError, decode, decode_opened, open_header, to_input, upright_size

LARGE_PIXELS = 4_000_000
"""From here on an image takes tens of milliseconds and waits in a line of its own (1080p has 2 million)."""
LARGE_PROGRESSIVE = 1_000_000
"""The same for a progressive JPEG, whose pixels cost three times as much, and more the more scans it has."""
ENGINE_BYTES = 2**20
"""The engine's thread takes files up to here: even a header that is made to be long is soon read."""
LARGE_SHARE = 2
"""At most this part of the places, one in two, may be taken by large images: they can't crowd out the small ones."""
FIRST_COST_S = 0.001
"""What an image is taken to cost to describe while none was; a 256 px one costs so much."""
LEARNING = 0.1
"""Weight of the last image in that cost, from then on."""
BURST_S = 1.0
"""Of unused time that is kept, so that the images after a pause are described."""
UNMEASURED = dict.fromkeys(FEATURES, math.nan)
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Decoded:
    """size_px: (width, height) of the upright image. features: `measure_image`'s, or UNMEASURED. decode_s: without waiting."""

    size_px: tuple[int, int]
    features: dict[str, float]
    decode_s: float


class Sampler:
    """Lets work through that takes at most `share` of a core: as many as that allows, and after a pause up to BURST_S of it.

    What one costs is not known before: it is taken to cost as much as those before it, and put right when it has ended.
    """

    def __init__(self, share: float) -> None:
        self._share, self._cost_s = share, FIRST_COST_S
        self._free_s, self._at_s = self._most_s, time.monotonic()
        self._lock = threading.Lock()

    def take(self) -> float | None:
        """What it is taken to cost, in seconds, for `spend` or `give_back`; None: there is no room for one."""
        with self._lock:
            now_s = time.monotonic()
            self._free_s = min(self._most_s, self._free_s + (now_s - self._at_s) * self._share)
            self._at_s = now_s
            if self._share == 0 or self._free_s <= 0:
                return None
            self._free_s -= self._cost_s
            return self._cost_s

    def spend(self, taken_s: float, really_s: float) -> None:
        with self._lock:
            self._free_s += taken_s - really_s
            self._cost_s += (really_s - self._cost_s) * LEARNING

    def give_back(self, taken_s: float) -> None:
        """It was not needed."""
        with self._lock:
            self._free_s += taken_s

    @property
    def _most_s(self) -> float:
        return BURST_S * self._share


class Large(Exception):
    """An image that takes long to decode, in a small file."""


def is_large(header: Image.Image) -> bool:
    """header: as `open_header` gives it."""
    return header.width * header.height >= (LARGE_PROGRESSIVE if "progressive" in header.info else LARGE_PIXELS)


class Decoder:
    """The threads of one worker, and what they leave to the engine's. `fill` and `aside` belong to the event loop."""

    def __init__(
        self, threads: int, max_megapixels: float, max_queue: int, features_share: float, beside: bool = True
    ) -> None:
        """features_share: of a core's time, in which images are described; of the others no feature is known.

        beside: decode beside the engine also what its own thread could decode.
        """
        self._max_megapixels, self._sampler, self._beside = max_megapixels, Sampler(features_share), beside
        self._small = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._large = ThreadPoolExecutor(max(1, threads // LARGE_SHARE), thread_name_prefix="decode-large")
        self._large_held, self._large_places = 0, max(1, max_queue // LARGE_SHARE)

    async def fill(self, place: Place, data: bytes, spec: InputSpec) -> Decoded:
        """Puts the model's input, uint8 [S, S, 3], into `place`. Raises `ImageError`, and `Overloaded` when too many
        large images wait.
        """
        taken_s = self._sampler.take()
        if taken_s is None and not self._beside and len(data) <= ENGINE_BYTES:
            try:
                return await self._fill_in_turn(place, data, spec)
            except Large:
                place.renew()
        try:
            return await self._fill_ahead(place, data, spec, taken_s)
        except (ImageError, Overloaded):
            if taken_s is not None:
                self._sampler.give_back(taken_s)
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
            size_px = upright_size(header)
            found = to_input(decode_opened(header, spec.draft_px), spec)
            decoded = Decoded(size_px, UNMEASURED, time.perf_counter() - start_s)
            return found

        place.put_work(make)
        await place.answer
        return decoded

    async def _fill_ahead(self, place: Place, data: bytes, spec: InputSpec, taken_s: float | None) -> Decoded:
        """By threads of its own, as soon as one is free. Describes the image when it is put, while the engine works."""

        def small() -> Image.Image | Decoded:
            start_s = time.perf_counter()
            header = open_header(data, self._max_megapixels)
            return header if is_large(header) else finish(header, start_s)

        def finish(header: Image.Image, start_s: float) -> Decoded:
            size_px = upright_size(header)
            image = decode_opened(header, spec.draft_px)
            place.put(to_input(image, spec))
            whole = image if image.size == size_px else None
            features = UNMEASURED if taken_s is None else self._describe(whole, data, taken_s)
            return Decoded(size_px, features, time.perf_counter() - start_s)

        found = await asyncio.get_running_loop().run_in_executor(self._small, small)
        if isinstance(found, Decoded):
            return found
        return await self.aside(lambda: finish(found, time.perf_counter()))

    def _describe(self, image: Image.Image | None, data: bytes, taken_s: float) -> dict[str, float]:
        """In a thread, whose time it is counted by. image: None where only a smaller one was decoded."""
        start_s = time.thread_time()
        features = measure_image(image or decode(data, self._max_megapixels), data)
        self._sampler.spend(taken_s, time.thread_time() - start_s)
        return features


def open_decoder(serving: ServingConfig) -> Decoder:
    return Decoder(
        serving.decode_threads,
        serving.max_megapixels,
        serving.max_queue,
        serving.features_share,
        beside=spare_cores(serving),
    )
