"""What tasks without labels have in common: the part of `vision.kinds.base.Learning` that `fit` uses of them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    import pandas as pd

    from vision.augment_moves import Moves
    from vision.training.finish import InOrder


class Unlabelled:
    """There are no targets, and nothing to validate on."""

    headline = "train_loss"

    def targets(self, rows: "pd.DataFrame", labels: Sequence[str]) -> np.ndarray:
        """No label is looked at: the rows' own numbers."""
        return np.arange(len(rows))

    def moved(self, targets: Tensor, moves: "Moves") -> Tensor:
        return targets

    def collate(self, targets: np.ndarray, indices: np.ndarray) -> Tensor:
        return torch.from_numpy(targets[indices])

    def finish(self, network: nn.Module, train: "InOrder", val: "InOrder") -> None:
        """The last epoch is the result."""
