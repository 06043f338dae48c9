"""How a backbone is pre-trained without labels, and the training that it comes to.

`simclr` (Chen et al. 2020) tells images from each other; `drawn_defects` finds defects that were drawn on normal images.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vision.models.config import PretrainedBy
from vision.settings import Section
from vision.training.config import AugmentStep, OptimizerConfig, Positive, Probability, StageConfig, TrainingConfig

BLUR_SHARE = 0.1
"""Of the side: the blur's kernel (Chen et al. 2020, appendix A)."""


class _Pretraining(Section):
    """What all ways have. They see the training split's images; workers, precision and seed are those of `training`."""

    method: PretrainedBy
    epochs: Annotated[int, Field(ge=1, le=5000)] = 100
    batch_size: Annotated[int, Field(ge=4, le=8192)] = 128
    """Images a step over all workers together; each gives several views."""
    lr: Positive = 1e-3
    warmup: Probability = 0.1
    """Share of the epochs over which the rate rises."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    side_px: Annotated[int, Field(ge=16, le=1024)] | None = None
    """Of the views; None: `input.side_px`. Half the side is a quarter of the work."""
    crop_scale: tuple[Positive, Positive] = (0.08, 1.0)
    """Shares of the image's area that a view may show."""

    @model_validator(mode="after")
    def crop_scale_rises_within_the_image(self):
        if not self.crop_scale[0] <= self.crop_scale[1] <= 1:
            raise ValueError(f"crop_scale must rise and end at 1 at most, got {list(self.crop_scale)}")
        return self


class SimClrConfig(_Pretraining):
    """Two views of an image shall look alike; defaults as in the paper."""

    method: Literal["simclr"] = "simclr"
    temperature: Positive = 0.5
    hidden: Annotated[int, Field(ge=8, le=8192)] | None = None
    """Width of the projection head's hidden layer; None: the backbone's channels, as in the paper."""
    size: Annotated[int, Field(ge=2, le=4096)] = 128
    """Of the projections that the loss compares."""
    color_strength: Annotated[float, Field(ge=0, le=2.5)] = 1.0
    """Of the colour jitter; 0 where colour is what tells the classes apart."""
    blur: Probability = 0.5

    def augment(self, side_px: int) -> tuple[AugmentStep, ...]:
        """The paper's augmentations, in its order (appendix A): crop, flip, colour jitter, grey, blur."""
        strength = self.color_strength
        jitter = {"brightness": 0.8 * strength, "contrast": 0.8 * strength, "saturation": 0.8 * strength}
        steps = [
            AugmentStep(name="random_resized_crop", args={"scale": self.crop_scale}),
            AugmentStep(name="horizontal_flip"),
        ]
        if strength > 0:
            steps.append(AugmentStep(name="color_jitter", args={**jitter, "hue": 0.2 * strength, "p": 0.8}))
            steps.append(AugmentStep(name="grayscale", args={"p": 0.2}))
        if self.blur > 0:
            kernel = max(3, int(BLUR_SHARE * side_px) // 2 * 2 + 1)
            steps.append(AugmentStep(name="gaussian_blur", args={"kernel_size": kernel, "p": self.blur}))
        return tuple(steps)


class DrawnDefectsConfig(_Pretraining):
    """Blobs and lines are drawn on the images, and the network learns where (vision/training/drawn_defects.py)."""

    method: Literal["drawn_defects"] = "drawn_defects"
    epochs: Annotated[int, Field(ge=1, le=5000)] = 80
    batch_size: Annotated[int, Field(ge=2, le=8192)] = 4
    views: Annotated[int, Field(ge=1, le=64)] = 4
    """Of each image in a batch, each with defects of its own: few images make few steps an epoch."""
    lr: Positive = 2e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    crop_scale: tuple[Positive, Positive] = (0.5, 1.0)
    light: Annotated[float, Field(ge=0, le=1)] = 0.4
    """By how much brightness and contrast change: what the light does is no defect."""
    hidden: Annotated[int, Field(ge=8, le=8192)] = 64
    """Width of the head that tells drawn places from others."""

    def augment(self, side_px: int) -> tuple[AugmentStep, ...]:
        """Crop, both flips, brightness and contrast. The defects are drawn afterwards."""
        crop = AugmentStep(name="random_resized_crop", args={"scale": self.crop_scale})
        flips = (AugmentStep(name="horizontal_flip"), AugmentStep(name="vertical_flip"))
        light = AugmentStep(name="color_jitter", args={"brightness": self.light, "contrast": self.light})
        return (crop, *flips, light)


PretrainingConfig = Annotated[SimClrConfig | DrawnDefectsConfig, Field(discriminator="method")]


def pretraining_as_training(
    config: SimClrConfig | DrawnDefectsConfig, training: TrainingConfig, side_px: int
) -> TrainingConfig:
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
        "augment": config.augment(side_px),
    }
    return training.model_copy(update=changes)
