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

from vision.package import InputSpec, Spec

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from PIL import Image

    from vision.augment_moves import Moves
    from vision.data.cache import Crops
    from vision.data.config import DataConfig
    from vision.evaluation.config import EvaluationConfig
    from vision.evaluation.report import Part
    from vision.exploration.facts import Fact
    from vision.models.config import ModelConfig
    from vision.models.network import ServedModel
    from vision.training.config import TrainingConfig
    from vision.training.finish import InOrder


COMMON = ("label", "confidence", "confident")
"""What every kind's summary has."""


class SystemLike(Protocol):
    """What a kind looks at of a system's config (`configs.schema.SystemConfig`, which vision doesn't know)."""

    data: "DataConfig"
    input: InputSpec
    model: "ModelConfig"
    training: "TrainingConfig"


def check_steps(config: SystemLike) -> None:
    """For kinds that learn by steps. Raises `ValueError` where there is no stage, or the start is one for a memory."""
    for field in ("stages", "stages_from_scratch"):
        if not getattr(config.training, field):
            raise ValueError(f"training.{field} needs at least one stage, got []")
    if config.model.weights == "drawn_defects":
        raise ValueError("model.weights drawn_defects trains what a memory reads (kind anomaly), got another kind")


class Answering(Protocol):
    name: str
    outputs: tuple[str, ...]
    """Names of `model.onnx`'s outputs, in order; the last is `embedding` float32 [N, 32]."""
    quantised: tuple[str, ...]
    """Layers (ONNX operators) that INT8 takes; the others stay in float."""
    limitations: tuple[str, ...]
    """What a model card says of every model of this kind."""
    explain_graph: str | None
    """File of the package whose outputs `overlay` is drawn from; None: the model's own."""
    explained: str
    """What `overlay` shows, as a phrase for the service's description."""
    heatmap: bool
    """Is that a heatmap, and not only what the answer says anyway?"""

    def check(self, config: "SystemLike") -> None:
        """Raises `ValueError` (field, got, allowed) for a config that this kind can't work by."""

    def told(self, spec: Spec) -> str:
        """What such a model does, for its card: goes on from "A resnet18 that"."""

    def answers(
        self, outputs: Mapping[str, np.ndarray], spec: Spec, sizes_px: Sequence[tuple[int, int]], top_k: int
    ) -> list[dict[str, Any]]:
        """One JSON-able answer an image. `sizes_px`: (width, height) of each image as sent, upright.

        top_k: how many alternatives are named. What a kind finds beside each other (boxes) is no alternative: all of it is told.
        """

    def answer_schema(self, spec: Spec) -> dict[str, Any]:
        """JSON schema (2020-12, `type: object`) of one answer."""

    def summary(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """{label, confidence, confident} and any further columns that drift is measured on: numbers, None without a value."""

    def agree(
        self, got: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray], tolerance: float
    ) -> tuple[bool, float]:
        """Do two runtimes give the same answer on the same images, and by how much do they differ at most?"""

    def same_outputs(self, got: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> np.ndarray:
        """bool [N]: do two runtimes say the same of each image, whatever their numbers are?"""

    def same(self, answer: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        """Would a person be told the same by both? Of answers to one image by two packages."""

    def compare(
        self, got: Mapping[str, Any], wanted: Mapping[str, Any], tolerance: float
    ) -> tuple[float, tuple[str, ...]]:
        """Answers of one package to one image: the largest difference, and what differs by more than `tolerance`.

        wanted: with all alternatives; got: with as many as were asked for. Shares and positions are 0 to 1.
        """

    def margin(self, answer: Mapping[str, Any]) -> float:
        """From 0 (undecided) to 1: how far the answer is from being another one."""

    def vocabulary(self, labels: Sequence[str]) -> tuple[str, ...]:
        """What people may call an image. labels: the model's own."""

    def truth(self, row: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
        """What a person who knows the image would call it on seeing the answer, of `vocabulary`. row: of the manifest."""

    def wrong_boxes(
        self, boxes: Sequence[Mapping[str, Any]], label: str, answer: Mapping[str, Any], labels: Sequence[str]
    ) -> tuple[str, str] | None:
        """(got, allowed) of boxes, {label, box}, that a person drew where an image answered by `answer` shows `label` and they can't
        be all of it; None when they can. labels: the model's own."""

    def overlay(self, image: "Image.Image", outputs: Mapping[str, np.ndarray], spec: Spec, side_px: int) -> np.ndarray:
        """Where the answer comes from, drawn on the photograph (RGB, upright), no longer than `side_px`: uint8 [H, W, 3].

        outputs: of `explain_graph` for this image, [1, ...].
        """

    def reading(self, spec: Spec) -> tuple[str, str]:
        """How the outputs become an answer where there is no VisionOps: a sentence, and Python that goes on from
        `session` (ONNX Runtime), `image` (the model's input, PIL) and `photo` (upright, as it was sent) and prints one."""


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

    def learns_from(self, rows: "pd.DataFrame") -> np.ndarray:
        """bool [n]: which rows of the training split the network may learn from."""

    def targets(self, rows: "pd.DataFrame", labels: Sequence[str]) -> Any:
        """Training targets of these manifest rows; indexable by row number (array or list)."""

    def network(self, config: "ModelConfig", labels: Sequence[str], seed: int, side_px: int = 224) -> "torch.nn.Module":
        """images float [N, 3, H, W], normalised -> dict of tensors: `Answering.outputs` less `embedding`, `pooled` [N, D], and
        what else the loss takes. side_px: of the model's input, for what is laid over it (anchors)."""

    def loss(self, outputs: Mapping[str, "torch.Tensor"], targets: Any, config: "TrainingConfig") -> "torch.Tensor":
        """Scalar."""

    def moved(self, targets: Any, moves: "Moves") -> Any:
        """Targets of a batch after its images were moved about by augmentation; the same where no target has a place."""

    def collate(self, targets: Any, indices: np.ndarray) -> Any:
        """Targets of one batch, as `loss` takes them."""

    def finish(self, network: "torch.nn.Module", train: "InOrder", val: "InOrder") -> dict[str, float] | None:
        """After the last stage: what is learnt in one pass over the images as they will be judged, put into `network`.

        Returns what there is to tell, `train_loss` with it; None where there is nothing to finish.
        """

    def score(self, outputs: Mapping[str, np.ndarray], targets: Any, labels: Sequence[str]) -> dict[str, float]:
        """Validation metrics of one epoch; holds `headline`, where the split has what it takes."""

    def explainer(self, served: "ServedModel") -> "tuple[torch.nn.Module, Sequence[str]] | None":
        """What `explain.onnx` is exported from: uint8 [N, H, W, 3] -> its outputs, and their names; None without one."""

    def calibrate(self, outputs: Mapping[str, np.ndarray], targets: Any) -> dict[str, float]:
        """Fields of the spec that the validation split sets (`temperature`, `threshold`), by name."""

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
