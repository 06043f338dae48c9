"""How a backbone is pre-trained without labels: SimCLR (Chen et al. 2020), and the training that it comes to."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vision.settings import Section
from vision.training.config import AugmentStep, OptimizerConfig, Positive, Probability, StageConfig, TrainingConfig

BLUR_SHARE = 0.1
"""Of the side: the blur's kernel (Chen et al. 2020, appendix A)."""


class PretrainingConfig(Section):
    """SimCLR on the training split's images. Workers, precision and seed are those of `training`."""

    method: Literal["simclr"] = "simclr"
    epochs: Annotated[int, Field(ge=1, le=5000)] = 100
    batch_size: Annotated[int, Field(ge=4, le=8192)] = 128
    """Images a step over all workers together; each gives two views."""
    lr: Positive = 1e-3
    warmup: Probability = 0.1
    """Share of the epochs over which the rate rises."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    temperature: Positive = 0.5
    hidden: Annotated[int, Field(ge=8, le=8192)] | None = None
    """Width of the projection head's hidden layer; None: the backbone's channels, as in the paper."""
    size: Annotated[int, Field(ge=2, le=4096)] = 128
    """Of the projections that the loss compares."""
    side_px: Annotated[int, Field(ge=16, le=1024)] | None = None
    """Of the views; None: `input.side_px`. Half the side is a quarter of the work."""
    crop_scale: tuple[Positive, Positive] = (0.08, 1.0)
    """Shares of the image's area that a view may show."""
    color_strength: Annotated[float, Field(ge=0, le=2.5)] = 1.0
    """Of the colour jitter; 0 where colour is what tells the classes apart."""
    blur: Probability = 0.5

    @model_validator(mode="after")
    def crop_scale_rises_within_the_image(self):
        if not self.crop_scale[0] <= self.crop_scale[1] <= 1:
            raise ValueError(f"crop_scale must rise and end at 1 at most, got {list(self.crop_scale)}")
        return self


def simclr_augment(config: PretrainingConfig, side_px: int) -> tuple[AugmentStep, ...]:
    """The paper's augmentations, in its order (appendix A): crop, flip, colour jitter, grey, blur."""
    strength = config.color_strength
    jitter = {"brightness": 0.8 * strength, "contrast": 0.8 * strength, "saturation": 0.8 * strength}
    steps = [
        AugmentStep(name="random_resized_crop", args={"scale": config.crop_scale}),
        AugmentStep(name="horizontal_flip"),
    ]
    if strength > 0:
        steps.append(AugmentStep(name="color_jitter", args={**jitter, "hue": 0.2 * strength, "p": 0.8}))
        steps.append(AugmentStep(name="grayscale", args={"p": 0.2}))
    if config.blur > 0:
        kernel = max(3, int(BLUR_SHARE * side_px) // 2 * 2 + 1)
        steps.append(AugmentStep(name="gaussian_blur", args={"kernel_size": kernel, "p": config.blur}))
    return tuple(steps)


def pretraining_as_training(config: PretrainingConfig, training: TrainingConfig, side_px: int) -> TrainingConfig:
    """One stage over the whole network, so that the loop of every training runs it. side_px: of the views."""
    stage = StageConfig(
        name=config.method,
        epochs=config.epochs,
        trainable="all",
        lr=config.lr,
        warmup_epochs=config.warmup * config.epochs,
    )
    changes = {
        "batch_size": config.batch_size,
        "stages": (stage,),
        "stages_from_scratch": (stage,),
        "optimizer": OptimizerConfig(name="adamw", weight_decay=config.weight_decay),
        "schedule": "cosine",
        "label_smoothing": 0.0,
        "label_share": 1.0,
        "clip_norm": None,
        "early_stop_epochs": None,
        "augment": simclr_augment(config, side_px),
    }
    return training.model_copy(update=changes)
