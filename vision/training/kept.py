"""What the frozen layers of a network make of images, once: while a stage lasts they always make the same of the same view."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby, takewhile

import numpy as np
import torch
from torch import Generator

from vision.models.freezing import Frozen, Part
from vision.training.config import StageConfig, TrainingConfig
from vision.training.inputs import Pixels
from vision.training.loaders import Loaders, SplitData, in_order
from vision.training.seeds import derived_seed
from vision.training.team import Team


@dataclass
class Shelf:
    """What was kept for one stage, for those after it that freeze the same layers. part: that trained; None: nothing is there."""

    part: Part | None = None
    loaders: Loaders | None = None


def shared_part(stages: Sequence[StageConfig]) -> Part:
    """stages: one and all after it -> the part whose frozen layers it shares with those right after it: a head that trains before the
    top of the backbone does takes what lies below the top, so that all is made once."""
    parts = list(takewhile(lambda part: part != "all", (stage.trainable for stage in stages)))
    return "all" if not parts else "top" if "top" in parts else "head"


def kept_views(config: TrainingConfig, stages: Sequence[StageConfig], number: int) -> int | None:
    """How many views of a training image stage `number` (from 0), which has frozen layers, sees; 0: the image as it is served. None: a
    new one each epoch. No more than it and its neighbours with frozen layers have epochs."""
    if not config.augment:
        return 0
    groups = groupby(range(len(stages)), key=lambda at: stages[at].trainable == "all")
    mine = next(members for _, group in groups if number in (members := list(group)))
    return config.cached_views and min(config.cached_views, sum(stages[at].epochs for at in mine))


class Keeper:
    """Makes them. What the team's members make is shared out among them. part: that trains."""

    def __init__(self, frozen: Frozen, pixels: Pixels, team: Team, config: TrainingConfig, part: Part) -> None:
        self._frozen, self._pixels, self._team, self._config, self.part = frozen, pixels, team, config, part

    def keep(self, split: SplitData, views: int = 0) -> SplitData:
        """The same split with [max(1, views) n, ...] in place of images: float16 where the training computes in 16 bits.

        views: augmented ones of each image; 0: the image as it is served. Raises `OSError` where the disk of temporary files has no room.
        """
        if not len(split.indices):
            return split
        self._frozen.eval()
        count, none = len(split.indices), self._found(split, np.arange(0), None)
        kept = _room((max(1, views) * count, *none.shape[1:]), none.dtype)
        for view in range(max(1, views)):
            generator = self._generator(view) if views else None
            for positions in in_order(count, self._config.batch_size, self._team):
                kept[view * count + positions] = self._found(split, positions, generator)
        self._team.fill(kept)
        return replace(split, images=kept, indices=np.arange(count), views=max(1, views))

    def _found(self, split: SplitData, positions: np.ndarray, generator: Generator | None) -> np.ndarray:
        pixels = self._pixels
        images = split.read(positions).to(pixels.precision.device)
        inputs = pixels.judging(images) if generator is None else pixels.training(images, generator)[0]
        with torch.inference_mode(), pixels.precision.autocast():
            found = self._frozen(inputs)
        # NumPy has no bfloat16, of which float16 loses nothing that such layers give.
        return (found if found.dtype == torch.float32 else found.to(torch.float16)).cpu().numpy()

    def _generator(self, view: int) -> Generator:
        seed = derived_seed(self._config.seed, "views", self.part, view, self._team.rank)
        return Generator().manual_seed(seed)


def _room(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Zeros, in a file without a name: they may be more than the memory holds."""
    size = int(np.prod(shape)) * dtype.itemsize
    with tempfile.TemporaryFile(prefix="visionops-kept-") as file:
        try:
            file.truncate(size)
            # Taken now: a write through a memory map to a full disk kills the process (SIGBUS).
            if hasattr(os, "posix_fallocate"):  # not on macOS
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            raise OSError(error.errno, error.strerror, tempfile.gettempdir()) from None
        return np.memmap(file, dtype, "r+", shape=shape)
