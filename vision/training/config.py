"""How a model is trained: stages, optimiser, schedule, precision; and the augmentation of training images."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vision.settings import Section

Positive = Annotated[float, Field(gt=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]


class StageConfig(Section):
    """One training stage. `trainable`: the head, the head and the top block(s) of the backbone, or everything."""

    name: str
    epochs: Annotated[int, Field(ge=1, le=1000)]
    trainable: Literal["head", "top", "all"]
    lr: Positive
    backbone_lr: Positive | None = None
    """Rate of the backbone's parameters; None: `lr` for all."""
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    early_stop_epochs: Annotated[int, Field(ge=1)] | None = None
    """None: as `training.early_stop_epochs` says."""

    @model_validator(mode="after")
    def can_be_trained(self):
        if self.warmup_epochs > self.epochs:
            raise ValueError(f"warmup_epochs must be at most epochs, got {self.warmup_epochs:g} of {self.epochs}")
        if self.trainable == "head" and self.backbone_lr is not None:
            raise ValueError(f"backbone_lr = {self.backbone_lr:g} has nothing to train while `trainable` is head")
        return self


class AugmentStep(Section):
    """One step of `training.augment`, by torchvision's name in snake case, with torchvision's own arguments."""

    name: Literal[
        "random_resized_crop", "horizontal_flip", "vertical_flip", "rotation", "color_jitter", "gaussian_blur",
        "random_erasing", "rand_augment", "random_crop", "grayscale", "mosaic",
    ]  # fmt: skip
    args: dict[str, float | int | tuple[float, ...] | str] = {}


class OptimizerConfig(Section):
    name: Literal["adamw", "sgd"] = "adamw"
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    """Of AdamW: how much of the old mean, and of the old mean square, of the gradients stays at a step. In a run of a few thousand
    steps a second of 0.99 follows them sooner."""


class TrainingConfig(Section):
    version: str = "1"
    batch_size: Annotated[int, Field(ge=2, le=4096)] = 32
    """Images a step over all workers together."""
    workers: Annotated[int, Field(ge=1, le=512)] = 1
    cpus_per_worker: Annotated[int, Field(ge=1)] | None = None
    """None: the machine's cores shared out evenly."""
    gpus_per_worker: Annotated[float, Field(ge=0, le=8)] | None = None
    """None: one a worker where there is one, else none."""
    max_failures: Annotated[int, Field(ge=0)] = 2
    """How often workers may die, or find no room, before the training gives up."""
    worker_wait_s: Positive = 300.0
    """How long the cluster may take, in all, to find room for the workers: a lost node's replacement, say."""
    stages: tuple[StageConfig, ...]
    stages_from_scratch: tuple[StageConfig, ...]
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: Literal["cosine", "one_cycle", "constant"] = "cosine"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    clip_norm: Positive | None = 1.0
    early_stop_epochs: Annotated[int, Field(ge=1)] | None = 5
    """Epochs of one stage without a better validation score, after which the stage ends."""
    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    """`auto`: a short probe at start takes the faster of float32 and bf16 on this device. fp16 (with a GradScaler) needs a GPU."""
    augment: tuple[AugmentStep, ...] = ()
    cached_views: Annotated[int, Field(ge=0, le=100)] | None = None
    """Stages that leave layers frozen (`head`, `top`) see so many augmented views of each training image, of which the frozen layers
    make the same each time: it is made once. 0: each image as it is served, in place of augmenting it; with no `augment` they
    do so anyway, and get the same model. None: a new view each epoch. Classifiers only."""
    label_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Of the training split's labels, whole families; the images without are left out. What would fewer labels have given?"""
    seed: int = 42

    @model_validator(mode="after")
    def stages_are_named_once(self):
        for field in ("stages", "stages_from_scratch"):
            names = [stage.name for stage in getattr(self, field)]
            if len(set(names)) < len(names):
                raise ValueError(f"`{field}` needs at least one stage and a different name for each, got {names}")
        return self
