"""Batches straight from the uint8 memory map: who reads which rows in which epoch, seeded, shared out over a team."""

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from vision.errors import UserError
from vision.training.seeds import derived_seed
from vision.training.team import Team

T = TypeVar("T")
LEAST_IMAGES = 2
"""A batch of one has no variance: BatchNorm can't train on it."""


@dataclass(frozen=True)
class SplitData:
    """images: uint8 [N, R, R, 3], usually a memory map. indices: int [n], its rows that are this split's.

    targets: of those n rows in order, as `Learning.targets` makes them. views: `vision.training.kept` gives what was made of so many
    views of each image, first all first ones: images [views n, ...], indices 0..n.
    """

    images: np.ndarray
    indices: np.ndarray
    targets: Any
    views: int = 1

    def read(self, positions: np.ndarray, epoch: int = 0) -> Tensor:
        """positions int [b] in 0..n -> uint8 [b, R, R, 3], or what was made of them, copied out of the map. epoch: takes another
        view of each image than the one before."""
        view = (positions + epoch) % self.views
        return torch.from_numpy(self.images[self.indices[positions] + view * len(self.indices)])


@dataclass(frozen=True)
class Loaders:
    train: SplitData
    val: SplitData


def shuffled(count: int, batch_size: int, seed: int, epoch: int, team: Team) -> list[np.ndarray]:
    """This member's batches of one epoch: positions int [about batch_size / team.size].

    The order depends on seed and epoch only, and each batch of the whole team is dealt out, so every image is taken
    once whatever the team's size. The last batch may be smaller; it is left out when a member would get fewer than two
    images. Raises `UserError` when that leaves nothing.
    """
    order = np.random.default_rng(derived_seed(seed, "order", epoch)).permutation(count)
    whole = [order[start : start + batch_size] for start in range(0, count, batch_size)]
    batches = [batch[team.rank :: team.size] for batch in whole if len(batch) // team.size >= LEAST_IMAGES]
    if not batches:
        raise UserError(
            f"{count} training images in batches of {batch_size} for {team.size} workers",
            f"at least {LEAST_IMAGES} images a worker and step",
            "add images, or lower training.workers or raise training.batch_size",
        )
    return batches


def in_order(count: int, batch_size: int, team: Team) -> list[np.ndarray]:
    """This member's share of 0..count in batches of at most `batch_size`; for validation, nothing left out."""
    mine = np.arange(count)[team.rank :: team.size]
    return [mine[start : start + batch_size] for start in range(0, len(mine), batch_size)]


def prefetched(items: Iterator[T], depth: int = 2) -> Iterator[T]:
    """The same items, made `depth` ahead by a thread: pays when the consumer is a GPU; on a CPU both want the same
    cores.

    An error in `items` is raised at its place. A consumer that stops early stops the thread.
    """
    ready: queue.Queue = queue.Queue(maxsize=depth)
    stop, end = threading.Event(), object()

    def put(entry: tuple[Any, BaseException | None]) -> bool:
        while not stop.is_set():
            try:
                ready.put(entry, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def produce() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    return
            put((end, None))
        except BaseException as error:
            put((end, error))

    thread = threading.Thread(target=produce, daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is end:
                return
            yield item
    finally:
        stop.set()
        thread.join()
