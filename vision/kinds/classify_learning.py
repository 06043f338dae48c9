"""Image classification, the half that learns: one label an image, softmax over the classes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from vision.kinds.base import Evaluation
from vision.models.config import ModelConfig
from vision.models.network import ServedModel
from vision.package import Spec
from vision.training.config import TrainingConfig

if TYPE_CHECKING:
    from vision.augment_moves import Moves
    from vision.data.cache import Crops
    from vision.evaluation.config import EvaluationConfig
    from vision.evaluation.report import Part
    from vision.training.finish import InOrder


class ClassifyLearning:
    """`vision.kinds.base.Learning` for class labels. Targets are int64 [n], positions in `labels`."""

    name = "classify"
    headline = "macro_f1"

    def learns_from(self, rows: pd.DataFrame) -> np.ndarray:
        return np.ones(len(rows), bool)

    def finish(self, network: nn.Module, train: "InOrder", val: "InOrder") -> None:
        """The last stage's best epoch is the result."""

    def targets(self, rows: pd.DataFrame, labels: Sequence[str]) -> np.ndarray:
        """Raises `KeyError` for a row whose label is not in `labels`."""
        number = {label: index for index, label in enumerate(labels)}
        return np.array([number[label] for label in rows["label"]], dtype=np.int64)

    def network(self, config: ModelConfig, labels: Sequence[str], seed: int, side_px: int = 224) -> nn.Module:
        """Random weights, the same for the same seed; the caller's random state is left as it was."""
        from vision.models.factory import Backbone, Classifier, build_head

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            backbone = Backbone(config.arch, config.stem)
            head = build_head(config.arch, len(labels), config.head, config.hidden, config.dropout)
        return Classifier(backbone, head)

    def loss(self, outputs: Mapping[str, Tensor], targets: Tensor, config: TrainingConfig) -> Tensor:
        """Cross-entropy with label smoothing (Szegedy et al. 2016), in float32 whatever the network computed in."""
        logits = outputs["logits"].float()
        return nn.functional.cross_entropy(logits, targets, label_smoothing=config.label_smoothing)

    def moved(self, targets: Tensor, moves: "Moves") -> Tensor:
        return targets

    def collate(self, targets: np.ndarray, indices: np.ndarray) -> Tensor:
        return torch.from_numpy(targets[indices])

    def score(self, outputs: Mapping[str, np.ndarray], targets: np.ndarray, labels: Sequence[str]) -> dict[str, float]:
        """accuracy, macro_f1 over the classes present in targets or answers, and loss (plain cross-entropy)."""
        logits = np.asarray(outputs["logits"], np.float64)
        answers = logits.argmax(axis=1)
        hits = np.bincount(targets[answers == targets], minlength=len(labels))
        seen = np.bincount(targets, minlength=len(labels)) + np.bincount(answers, minlength=len(labels))
        return {
            "accuracy": float(np.mean(answers == targets)),
            "macro_f1": float(np.mean(2 * hits[seen > 0] / seen[seen > 0])),
            "loss": _cross_entropy(logits, targets),
        }

    def explainer(self, served: ServedModel) -> tuple[nn.Module, Sequence[str]]:
        from vision.export.explain import OUTPUTS, explain_model

        return explain_model(served), OUTPUTS

    def calibrate(self, outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> dict[str, float]:
        from vision.evaluation import classification

        return {"temperature": classification.calibrate(outputs, targets)}

    def evaluate(
        self, outputs: Mapping[str, np.ndarray], rows: pd.DataFrame, spec: Spec, config: "EvaluationConfig"
    ) -> Evaluation:
        from vision.evaluation import classification

        return classification.evaluate(outputs, rows, spec, config)

    def draw(
        self,
        evaluation: Evaluation,
        outputs: Mapping[str, np.ndarray],
        images: "np.ndarray | Crops",
        spec: Spec,
        folder: Path,
        grid_images: int,
    ) -> list[Path]:
        from vision.evaluation import classification

        return classification.draw(evaluation, outputs, images, spec, folder, grid_images)

    def errors(
        self, evaluation: Evaluation, images: "np.ndarray | Crops", spec: Spec, folder: Path
    ) -> "tuple[Part, ...]":
        from vision.evaluation import classification

        return classification.error_parts(evaluation, images, spec, folder)


def _cross_entropy(logits: np.ndarray, targets: np.ndarray) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(axis=1))
    return float(np.mean(log_sums - shifted[np.arange(len(targets)), targets]))
