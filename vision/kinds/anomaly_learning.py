"""`anomaly`, the half that learns: a memory of normal patches, and a threshold from normal images that are not in it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from vision.data.boxes.geometry import DEFECT, NORMAL
from vision.errors import UserError
from vision.evaluation import conformal
from vision.kinds.base import Evaluation
from vision.models.config import ModelConfig
from vision.models.coreset import coreset
from vision.models.memory import PatchMemory
from vision.models.network import ServedModel
from vision.package import Spec
from vision.training.config import TrainingConfig
from vision.training.finish import InOrder

if TYPE_CHECKING:
    from vision.augment_moves import Moves
    from vision.data.cache import Crops
    from vision.evaluation.config import EvaluationConfig
    from vision.evaluation.report import Part

LEAST_FAMILIES = 2
"""Of normal images to learn from: each is judged by a memory that has none of its family."""
SEED = 0


class AnomalyLearning:
    """`vision.kinds.base.Learning` from normal images alone. Targets are int64 [n, 2]: defect (0 or 1), family."""

    name = "anomaly"
    headline = "auroc"

    def learns_from(self, rows: pd.DataFrame) -> np.ndarray:
        return (rows["label"] == NORMAL).to_numpy()

    def targets(self, rows: pd.DataFrame, labels: Sequence[str]) -> np.ndarray:
        """Raises `UserError` for labels other than normal and defect."""
        _check(labels)
        families = pd.factorize(rows["family"])[0]
        return np.stack([(rows["label"] != NORMAL).to_numpy(), families], axis=1).astype(np.int64)

    def network(self, config: ModelConfig, labels: Sequence[str], seed: int, side_px: int = 224) -> nn.Module:
        """Random weights and nothing remembered, the same for the same seed; the caller's random state is left as it was."""
        from vision.models.factory import Backbone

        _check(labels)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return PatchMemory(Backbone(config.arch, config.stem), config.memory)

    def loss(self, outputs: Mapping[str, Tensor], targets: Tensor, config: TrainingConfig) -> Tensor:
        """Nothing is trained here: `vision.kinds.anomaly.Anomaly.check` refuses stages."""
        raise NotImplementedError("a memory has no loss; training.stages must be empty")

    def moved(self, targets: Tensor, moves: "Moves") -> Tensor:
        return targets

    def collate(self, targets: np.ndarray, indices: np.ndarray) -> Tensor:
        return torch.from_numpy(targets[indices])

    def finish(self, network: PatchMemory, train: InOrder, val: InOrder) -> dict[str, float]:
        """Fills the memory with the training split's patches and sets the threshold.

        By the normal images of the validation split where they are enough for the false-alarm rate (split-conformal);
        else those of the training split count too, each judged without the patches of its own family (cross-conformal:
        Vovk 2015). Raises `UserError` for less than two families to learn from.
        """
        families = torch.from_numpy(train.targets[:, 1])
        if len(families.unique()) < LEAST_FAMILIES:
            raise _too_few(len(families))
        with torch.inference_mode():
            features = torch.cat([network.features(images) for images in train])
            network.scale(features.flatten(0, 2))
            patches = network.projected(features)
            network.threshold.fill_(1.0)
            kept = coreset(patches.flatten(0, 2), network.config.patches, SEED)
            network.remember(patches.flatten(0, 2)[kept])
            owners = families.to(kept.device)[kept // patches[0, ..., 0].numel()]
            left_out = np.concatenate(list(_judged_by_others(network, patches, families, owners)))
            normal = _scores(network, val)[val.targets[:, 0] == 0]
            return _set_threshold(network, normal, left_out)

    def score(self, outputs: Mapping[str, np.ndarray], targets: np.ndarray, labels: Sequence[str]) -> dict[str, float]:
        """auroc, and the share of normal images above the threshold; nothing where the split has not both."""
        from vision.evaluation.calibration import separation

        defect, scores = targets[:, 0] == 1, outputs["score"][:, 0]
        if defect.all() or not defect.any():
            return {}
        return {"auroc": separation(scores, defect), "false_alarm_rate": float(np.mean(scores[~defect] > 1))}

    def explainer(self, served: ServedModel) -> None:
        """The model's own `heat` explains."""

    def calibrate(self, outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> dict[str, float]:
        from vision.evaluation import calibration
        from vision.kinds.anomaly import THRESHOLD, evidence

        temperature = calibration.fit_temperature(evidence(outputs["score"]), targets[:, 0])
        return {"temperature": temperature, "threshold": THRESHOLD}

    def evaluate(
        self, outputs: Mapping[str, np.ndarray], rows: pd.DataFrame, spec: Spec, config: "EvaluationConfig"
    ) -> Evaluation:
        from vision.evaluation import anomaly

        return anomaly.evaluate(outputs, rows, spec, config)

    def draw(
        self,
        evaluation: Evaluation,
        outputs: Mapping[str, np.ndarray],
        images: "np.ndarray | Crops",
        spec: Spec,
        folder: Path,
        grid_images: int,
    ) -> list[Path]:
        from vision.evaluation import anomaly

        return anomaly.draw(evaluation, outputs, images, spec, folder, grid_images)

    def errors(
        self, evaluation: Evaluation, images: "np.ndarray | Crops", spec: Spec, folder: Path
    ) -> "tuple[Part, ...]":
        from vision.evaluation import anomaly

        return anomaly.error_parts(evaluation, spec)


def _judged_by_others(network: PatchMemory, patches: Tensor, families: Tensor, owners: Tensor) -> Iterator[np.ndarray]:
    """Scores of each family's images by the remembered patches of all others. owners: family of each of those."""
    known = network.memory[: len(owners)]
    for family in families.unique():
        mine = patches[(families == family).to(patches.device)]
        others = known[owners != family.to(owners.device)]
        if len(others):
            yield network.scored(network.heat(mine, others))[:, 0].cpu().numpy()


def _scores(network: PatchMemory, split: InOrder) -> np.ndarray:
    """float [n], in units of the threshold as it is."""
    found = [network(images)["score"][:, 0].cpu().numpy() for images in split]
    return np.concatenate(found) if found else np.zeros(0)


def _set_threshold(network: PatchMemory, held_back: np.ndarray, left_out: np.ndarray) -> dict[str, float]:
    """held_back, left_out: distances of normal images from the memory. Returns what there is to tell."""
    rate = network.config.false_alarm_rate
    scores = held_back if conformal.enough(len(held_back), rate) else np.concatenate([held_back, left_out])
    found = max(conformal.threshold(scores, rate), np.finfo(np.float32).tiny)
    network.threshold.fill_(found)
    return {
        "train_loss": float(np.mean(left_out) / found),
        "threshold": found,
        "calibration_images": float(len(scores)),
        "stated_false_alarm_rate": conformal.stated_rate(len(scores), rate),
    }


def _check(labels: Sequence[str]) -> None:
    if tuple(labels) != (NORMAL, DEFECT):
        raise UserError(
            f"kind anomaly with the labels {', '.join(labels)}",
            f"{NORMAL} and {DEFECT}, in this order",
            "set data.source.label_by: presence, or name the folders so and give data.classes: [normal, defect]",
        )


def _too_few(images: int) -> UserError:
    return UserError(
        f"{images} normal images in the training split, of less than {LEAST_FAMILIES} families",
        f"normal images of at least {LEAST_FAMILIES} families, to judge each without its own",
        f"add images that are labelled {NORMAL}, or give `data.split.train` a larger share",
    )
