"""What a kind is. A kind is a way of answering about an image; nothing outside `vision/kinds/` asks which one it has.

Parts with a Protocol each, so that a server never imports torch:

- `Answering` (torch-free): turns the numbers a model gives into an answer, and an answer into what drift is measured on.
- `Exploring` (torch-free): what data of this kind looks like before anything is trained.
- `Learning` (torch): targets, network, loss, scores, pictures, and the module that is exported.

Rows everywhere are rows of the manifest (one an image); `label` is the value that splits are stratified by.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from vision.package import Spec

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from vision.data.cache import Crops
    from vision.evaluation.config import EvaluationConfig
    from vision.evaluation.report import Part
    from vision.exploration.facts import Fact
    from vision.models.config import ModelConfig
    from vision.models.network import ServedModel
    from vision.training.config import TrainingConfig


class Answering(Protocol):
    name: str
    outputs: tuple[str, ...]
    """Names of `model.onnx`'s outputs, in order; the last is `embedding` float32 [N, 32]."""

    def answers(
        self, outputs: Mapping[str, np.ndarray], spec: Spec, sizes_px: Sequence[tuple[int, int]], top_k: int
    ) -> list[dict[str, Any]]:
        """One JSON-able answer an image. `sizes_px`: (width, height) of each image as sent, upright."""

    def answer_schema(self, spec: Spec) -> dict[str, Any]:
        """JSON schema (2020-12, `type: object`) of one answer."""

    def summary(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """{label, confidence, confident} and any further columns that drift is measured on."""

    def agree(
        self, got: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray], tolerance: float
    ) -> tuple[bool, float]:
        """Do two runtimes give the same answer on the same images, and by how much do they differ at most?"""


@dataclass(frozen=True)
class Exploration:
    """What a kind says about a data set. `facts`: by the names that the rules in vision/exploration/insights.py ask for."""

    facts: Mapping[str, "Fact"]
    parts: "tuple[Part, ...]"


class Exploring(Protocol):
    def explore(self, rows: "pd.DataFrame", root: Path, folder: Path, grid_images: int) -> Exploration:
        """rows: the readable rows of the splits table; root: the folder of their paths. Pictures go to `folder`."""


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found. `metrics`: flat name -> number, and for intervals name_low, name_high.

    `headline`: the metric that early stopping, the gate and reports go by. `per_class`: one row a class, columns `label`,
    `images`, `recall` and more. `rows`: one row an image, columns `path`, `sha256`, `label`, `answer`, `confidence`,
    `right` (bool; paired tests use it) and, where the kind has one an image, `loss`, with the columns that slices are cut
    by, aligned with the manifest rows given.
    """

    headline: str
    metrics: dict[str, float]
    per_class: "pd.DataFrame"
    rows: "pd.DataFrame"


class Learning(Protocol):
    name: str
    headline: str

    def targets(self, rows: "pd.DataFrame", labels: Sequence[str]) -> Any:
        """Training targets of these manifest rows; indexable by row number (array or list)."""

    def network(self, config: "ModelConfig", labels: Sequence[str], seed: int) -> "torch.nn.Module":
        """images float [N, 3, H, W], normalised -> dict of tensors: `Answering.outputs` less `embedding`, and `pooled` [N, D]."""

    def loss(self, outputs: Mapping[str, "torch.Tensor"], targets: Any, config: "TrainingConfig") -> "torch.Tensor":
        """Scalar."""

    def collate(self, targets: Any, indices: np.ndarray) -> Any:
        """Targets of one batch, as `loss` takes them."""

    def score(self, outputs: Mapping[str, np.ndarray], targets: Any, labels: Sequence[str]) -> dict[str, float]:
        """Validation metrics of one epoch; holds `headline`."""

    def explainer(self, served: "ServedModel") -> "tuple[torch.nn.Module, Sequence[str]] | None":
        """What `explain.onnx` is exported from: uint8 [N, H, W, 3] -> its outputs, and their names; None without one."""

    def calibrate(self, outputs: Mapping[str, np.ndarray], targets: Any) -> float:
        """Temperature fitted on the validation split; 1.0 where the kind has none."""

    def evaluate(
        self, outputs: Mapping[str, np.ndarray], rows: "pd.DataFrame", spec: Spec, config: "EvaluationConfig"
    ) -> Evaluation:
        """All metrics with intervals (bootstrap over `family`, the groups that were split together)."""

    def draw(
        self,
        evaluation: Evaluation,
        outputs: Mapping[str, np.ndarray],
        images: "np.ndarray | Crops",
        spec: Spec,
        folder: Path,
        grid_images: int,
    ) -> list[Path]:
        """The kind's own pictures (confusion matrices, a grid of `grid_images` answers) as PNG files in `folder`.

        images: uint8 [N, S, S, 3], aligned with `evaluation.rows`; on disk, so take only those that are shown.
        """

    def errors(
        self, evaluation: Evaluation, images: "np.ndarray | Crops", spec: Spec, folder: Path
    ) -> "tuple[Part, ...]":
        """The kind's own chapters on where the model errs; those of vision/evaluation/error_analysis.py follow.

        images as for `draw`; pictures go to `folder`.
        """
