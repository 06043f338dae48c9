"""Where a training stands: the part of it that must survive a kill, as tensors and plain values."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vision.training.precision import PrecisionReport

POSITION = ("stage", "stage_epoch", "epoch", "stale", "best_epoch", "best_score", "best_loss")


@dataclass
class Progress:
    """stage: number of the stage at hand. stage_epoch, epoch: epochs done in it, and over all. stale: epochs of this
    stage without a better score. best: a copy of the network's tensors at `best_epoch`.
    """

    stage: int = 0
    stage_epoch: int = 0
    epoch: int = 0
    stale: int = 0
    best_epoch: int = 0
    best_score: float = -math.inf
    best_loss: float = math.inf
    best: dict[str, Tensor] | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    precision: PrecisionReport | None = None

    @classmethod
    def restored(cls, state: dict[str, Any]) -> "Progress":
        position = {name: state["position"][name] for name in POSITION}
        precision = PrecisionReport.model_validate(state["precision"])
        best = {name: value.clone() for name, value in state["best"].items()}
        return cls(**position, best=best, history=list(state["history"]), precision=precision)

    def note(self, record: dict[str, Any], score: float, network: nn.Module) -> None:
        """Counts an epoch. A better score is the best epoch; at an equal one the lower validation loss decides."""
        self.epoch += 1
        self.stage_epoch += 1
        self.history.append(record)
        loss = record.get("val_loss", math.inf)
        self.stale = 0 if score > self.best_score else self.stale + 1
        if (score, -loss) > (self.best_score, -self.best_loss):
            self.best_epoch, self.best_score, self.best_loss = self.epoch, score, loss
            self.best = {name: value.detach().clone() for name, value in network.state_dict().items()}

    def finish(self, record: dict[str, Any], score: float, network: nn.Module) -> None:
        """The network as it is now is the result, whatever it scored before: its stages were means to this."""
        self.next_stage()
        self.best_score, self.best_loss = -math.inf, math.inf
        self.note(record, score, network)

    def is_stale(self, patience: int | None) -> bool:
        return patience is not None and self.stale >= patience

    def next_stage(self) -> None:
        self.stage, self.stage_epoch, self.stale = self.stage + 1, 0, 0

    def epochs_before(self) -> int:
        """Epochs done before the stage at hand; earlier stages may have ended early."""
        return self.epoch - self.stage_epoch

    def state(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler
    ) -> dict[str, Any]:
        """What `torch.load(weights_only=True)` reads back. The best epoch's own state shares its tensors: saved
        once."""
        model = network.state_dict()
        return {
            "position": {name: getattr(self, name) for name in POSITION},
            "model": model,
            "best": model if self.best_epoch == self.epoch else self.best,
            "optimizer": optimizer.state_dict(),
            "scaler": scaler.state_dict(),
            "history": self.history,
            "precision": self.precision.model_dump(),
        }
