"""What a kind does after its last stage with every image once, as it will be judged: fill a memory, set a threshold."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from vision.training.inputs import Pixels
from vision.training.loaders import SplitData, in_order
from vision.training.team import Alone

if TYPE_CHECKING:
    from vision.training.epoch import EpochRun

FINISH = "finish"
"""The stage's name in a training's history."""


@dataclass(frozen=True)
class InOrder:
    """One split: iterating gives batches of normalised images float [b, 3, S, S], in the order of `targets`."""

    split: SplitData
    inputs: Pixels
    batch_size: int

    @property
    def targets(self) -> Any:
        return self.split.targets

    def __iter__(self) -> Iterator[Tensor]:
        for positions in in_order(len(self.split.indices), self.batch_size, Alone()):
            yield self.inputs.judging(self.split.read(positions))


def finished(run: "EpochRun") -> dict[str, float] | None:
    """What `Learning.finish` tells, with the validation's scores and the speed; None where the kind has nothing to do."""
    from vision.training.epoch import validate

    start, network = time.perf_counter(), run.model.network.eval()
    size = run.plan.config.batch_size
    train, val = (InOrder(split, run.inputs, size) for split in (run.loaders.train, run.loaders.val))
    found = run.plan.learning.finish(network, train, val)
    if found is None:
        return None
    images = len(run.loaders.train.indices) / (time.perf_counter() - start)
    scores = {f"val_{name}": value for name, value in validate(run).items()}
    return {"lr": 0.0, **found, "images_per_s": images, **scores}
