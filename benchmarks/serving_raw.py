"""The limit that a server is held to: decode, preprocess and batched forward with nothing around them."""

import contextlib
import multiprocessing
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from vision.package import Package, open_package
from vision.preprocess import preprocess

BATCH = 16


@dataclass(frozen=True)
class Raw:
    """Of all processes together."""

    per_second: float
    cpu_ms: float


def bench_engine(package: Package, precision: str = "auto"):
    """The service's own engine with one inference thread, as each worker on a CPU has it."""
    from bentos.engine import ready_engine
    from configs.serving import ServingConfig

    return ready_engine(package, ServingConfig(threads=1, precision=precision))


class RawLimit:
    """`workers` processes that wait; `measure` lets them all run at once. Use as a context."""

    def __init__(self, package: Package, images: Sequence[bytes], workers: int, precision: str = "auto") -> None:
        context = multiprocessing.get_context("spawn")
        self._ends = []
        for _ in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, package.folder, list(images), precision), daemon=True)
            process.start()
            # So that the pipe ends with a process that fails, and nobody waits for it.
            theirs.close()
            self._ends.append((process, ours))
        for _, end in self._ends:
            end.recv()

    def __enter__(self) -> "RawLimit":
        return self

    def __exit__(self, *_) -> None:
        for process, end in self._ends:
            with contextlib.suppress(OSError):  # A signal to the whole group has ended it before us.
                end.send(None)
            process.join(10)

    def measure(self, seconds: float) -> Raw:
        for _, end in self._ends:
            end.send(("many", seconds))
        found = [end.recv() for _, end in self._ends]
        images = sum(count for count, _, _ in found)
        return Raw(sum(count / wall for count, wall, _ in found), 1e3 * sum(cpu for _, _, cpu in found) / images)

    def lone_ms(self, seconds: float) -> float:
        """Median of one image at a time in one process: what a lone request can't be faster than."""
        _, end = self._ends[0]
        end.send(("one", seconds))
        return end.recv()


def _work(pipe: Connection, folder: Path, images: list[bytes], precision: str) -> None:
    package = open_package(folder)
    engine = bench_engine(package, precision)
    pipe.send("ready")
    while (order := pipe.recv()) is not None:
        what, seconds = order
        pipe.send({"many": _many, "one": _one}[what](engine, package.spec.input, images, seconds))


def _many(engine, spec, images: list[bytes], seconds: float) -> tuple[int, float, float]:
    """Images done, wall seconds, CPU seconds."""
    start, cpu, done = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - start < seconds:
        batch = [images[(done + place) % len(images)] for place in range(BATCH)]
        engine.predict(np.stack([preprocess(data, spec) for data in batch]))
        done += BATCH
    return done, time.perf_counter() - start, time.process_time() - cpu


def _one(engine, spec, images: list[bytes], seconds: float) -> float:
    times, start = [], time.perf_counter()
    while (now := time.perf_counter()) - start < seconds:
        engine.predict(preprocess(images[len(times) % len(images)], spec)[np.newaxis])
        times.append(1e3 * (time.perf_counter() - now))
    return statistics.median(times)
