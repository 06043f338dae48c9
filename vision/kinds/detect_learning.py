"""`detect`, the half that learns: boxes with labels, by anchors."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from vision.augment_moves import Moves, moved_boxes
from vision.data.boxes.geometry import boxes_of, scaled, usable
from vision.evaluation import box_matches
from vision.kinds.base import Evaluation
from vision.models.config import ModelConfig
from vision.models.network import ServedModel
from vision.package import Spec
from vision.training.config import TrainingConfig

if TYPE_CHECKING:
    from vision.data.cache import Crops
    from vision.evaluation.config import EvaluationConfig
    from vision.evaluation.report import Part
    from vision.training.finish import InOrder

Target = dict[str, Tensor]


class DetectLearning:
    """`vision.kinds.base.Learning` for boxes. Targets are a list, for each image {boxes: float32 [n, 4] (x1, y1, x2, y2 in
    0..1 of the image), labels: int64 [n], positions in `labels`}."""

    name = "detect"
    headline = box_matches.HEADLINE

    def learns_from(self, rows: pd.DataFrame) -> np.ndarray:
        return np.ones(len(rows), bool)

    def finish(self, network: nn.Module, train: "InOrder", val: "InOrder") -> None:
        """The last stage's best epoch is the result."""

    def targets(self, rows: pd.DataFrame, labels: Sequence[str]) -> list[Target]:
        """Raises `KeyError` for a box whose label is not in `labels`."""
        number = {label: index for index, label in enumerate(labels)}
        found = []
        for row in rows.itertuples():
            boxes = usable(boxes_of(row.boxes), row.width_px, row.height_px)
            places = torch.from_numpy(scaled(boxes, row.width_px, row.height_px))
            found.append({"boxes": places, "labels": torch.tensor([number[b.label] for b in boxes], dtype=torch.int64)})
        return found

    def network(self, config: ModelConfig, labels: Sequence[str], seed: int, side_px: int = 224) -> nn.Module:
        """Random weights, the same for the same seed; the caller's random state is left as it was."""
        from vision.models.detectors import build_detector

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return build_detector(config, len(labels), side_px)

    def loss(self, outputs: Mapping[str, Tensor], targets: Sequence[Target], config: TrainingConfig) -> Tensor:
        from vision.training.box_loss import detection_loss

        return detection_loss(outputs, targets, config.label_smoothing)

    def moved(self, targets: Sequence[Target], moves: Moves) -> list[Target]:
        return moved_boxes(targets, moves)

    def collate(self, targets: Sequence[Target], indices: np.ndarray) -> list[Target]:
        return [targets[index] for index in indices]

    def score(
        self, outputs: Mapping[str, np.ndarray], targets: Sequence[Target], labels: Sequence[str]
    ) -> dict[str, float]:
        return box_matches.score(outputs, targets, len(labels))

    def explainer(self, served: ServedModel) -> None:
        """The boxes are the explanation."""

    def calibrate(self, outputs: Mapping[str, np.ndarray], targets: Sequence[Target]) -> dict[str, float]:
        from vision.evaluation import detection

        return {"threshold": detection.best_threshold(outputs, targets)}

    def evaluate(
        self, outputs: Mapping[str, np.ndarray], rows: pd.DataFrame, spec: Spec, config: "EvaluationConfig"
    ) -> Evaluation:
        from vision.evaluation import detection

        return detection.evaluate(outputs, rows, self.targets(rows, spec.labels), spec, config)

    def draw(
        self,
        evaluation: Evaluation,
        outputs: Mapping[str, np.ndarray],
        images: "np.ndarray | Crops",
        spec: Spec,
        folder: Path,
        grid_images: int,
    ) -> list[Path]:
        from vision.evaluation import detection

        return detection.draw(evaluation, outputs, images, spec, folder, grid_images)

    def errors(
        self, evaluation: Evaluation, images: "np.ndarray | Crops", spec: Spec, folder: Path
    ) -> "tuple[Part, ...]":
        from vision.evaluation import detection

        return detection.error_parts(evaluation, images, spec, folder)
