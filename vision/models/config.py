"""Which network, which head, and where its weights come from."""

from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator, model_validator

from vision.settings import Section

Classifier = Literal["resnet18", "resnet50", "efficientnet_b0", "mobilenet_v3_small"]
Detector = Literal["ssdlite320_mobilenet_v3_large", "ssdlite_resnet18"]
CLASSIFIERS: tuple[str, ...] = get_args(Classifier)
Architecture = Literal[Classifier, Detector]
DETECTORS: tuple[str, ...] = get_args(Detector)
PretrainedBy = Literal["simclr", "drawn_defects"]
"""Weights that a stage of the training's own flow makes."""
PRETRAINED: tuple[str, ...] = get_args(PretrainedBy)

Scale = Annotated[float, Field(gt=0, le=1)]
Aspect = Annotated[float, Field(gt=1, le=20)]


class MemoryConfig(Section):
    """Of the kind `anomaly`: which features of a patch are remembered, how many, and when a distance is an alarm."""

    layers: Annotated[tuple[str, ...], Field(min_length=1)] = ("layer1", "layer2")
    """Of the backbone, by torchvision's names, in its order; the last one's map is the grid of patches."""
    neighbourhood: Annotated[int, Field(ge=1, le=15)] = 3
    """Side, in places of each map, over which features are averaged; odd."""
    numbers: Annotated[int, Field(ge=8, le=1024)] = 128
    """That are kept of a patch."""
    patches: Annotated[int, Field(ge=16, le=50_000)] = 1000
    """Largest size of the memory."""
    hottest: Annotated[int, Field(ge=1, le=1000)] = 5
    """Patches whose mean distance is the image's score."""
    local_px: Annotated[int, Field(ge=3, le=255)] | None = None
    """Side of the window by whose mean and spread each pixel is normalised, against uneven light; None: not at all."""
    false_alarm_rate: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share of normal images that may be called defects."""

    @field_validator("neighbourhood", "local_px")
    @classmethod
    def windows_have_a_middle(cls, side: int | None) -> int | None:
        if side is not None and side % 2 == 0:
            raise ValueError(f"must be odd, got {side}")
        return side


class ModelConfig(Section):
    """`weights`: imagenet (local file or torchvision's download), simclr or drawn_defects (a pre-training stage), file, random, or
    system: the backbone of another system's champion."""

    arch: Architecture = "resnet18"
    weights: Literal["imagenet", PretrainedBy, "system", "file", "random"] = "random"
    file: str | None = None
    system: str | None = None
    head: Literal["linear", "mlp"] = "linear"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    hidden: Annotated[int, Field(ge=8, le=8192)] = 512
    stem: Literal["imagenet", "cifar"] = "imagenet"
    """`cifar` (ResNets only): a 3x3 stride-1 first convolution without max-pooling, for 32-px images."""
    normalise: Literal["imagenet", "dataset"] = "imagenet"
    """Mean and standard deviation: ImageNet's, or those of this data set's training split."""

    anchor_scales: tuple[Scale, Scale] = (0.2, 0.95)
    """Of detectors: sides of the smallest and largest anchors, as shares of the image's; boxes far from any are not learnt."""
    anchor_aspects: Annotated[tuple[Aspect, ...], Field(min_length=1)] | None = None
    """The longer side of anchors over the shorter; of each there is one that lies and one that stands, beside the squares.
    None: 2 and 3. Thin things, such as scratches, need more: what no anchor overlaps by half is hardly learnt."""
    finest_stride: Literal[8, 16] = 16
    """Of a detector's first map, in pixels of the input. 8 finds small things, for a third more work; anchors then double from
    map to map."""

    memory: MemoryConfig = MemoryConfig()
    """Of the kind `anomaly`."""

    @model_validator(mode="after")
    def anchor_scales_rise(self):
        if not self.anchor_scales[0] < self.anchor_scales[1]:
            raise ValueError(f"anchor_scales must rise, got {list(self.anchor_scales)}")
        return self

    @model_validator(mode="after")
    def weights_say_what_they_need(self):
        for name in ("file", "system"):
            if (self.weights == name) != (getattr(self, name) is not None):
                raise ValueError(f"`{name}` is given exactly when `weights` is `{name}`")
        if self.stem == "cifar" and not self.arch.startswith("resnet"):
            raise ValueError(f"stem `cifar` is for resnet18 and resnet50, got arch {self.arch}")
        return self
