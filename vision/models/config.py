"""Which network, which head, and where its weights come from."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vision.settings import Section

Architecture = Literal["resnet18", "resnet50", "efficientnet_b0", "mobilenet_v3_small"]


class ModelConfig(Section):
    """`weights`: imagenet (local file or torchvision's download), simclr (a pre-training stage), file, random."""

    arch: Architecture = "resnet18"
    weights: Literal["imagenet", "simclr", "file", "random"] = "random"
    file: str | None = None
    head: Literal["linear", "mlp"] = "linear"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    hidden: Annotated[int, Field(ge=8, le=8192)] = 512
    stem: Literal["imagenet", "cifar"] = "imagenet"
    """`cifar` (ResNets only): a 3x3 stride-1 first convolution without max-pooling, for 32-px images."""
    normalise: Literal["imagenet", "dataset"] = "imagenet"
    """Mean and standard deviation: ImageNet's, or those of this data set's training split."""

    @model_validator(mode="after")
    def file_goes_with_weights(self):
        if (self.weights == "file") != (self.file is not None):
            raise ValueError("`file` is given exactly when `weights` is `file`")
        if self.stem == "cifar" and not self.arch.startswith("resnet"):
            raise ValueError(f"stem `cifar` is for resnet18 and resnet50, got arch {self.arch}")
        return self
