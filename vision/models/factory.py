"""Backbones by name: torchvision's networks without their classifier, under torchvision's own parameter names."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torchvision
from torch import Tensor, nn


@dataclass(frozen=True)
class Architecture:
    """channels: of the last feature map. top: children (dotted names) that train with `trainable: top`.

    activation: what the backbone uses itself, and so its MLP head. stage_names: attributes of torchvision's model that
    make the backbone, in order. of: torchvision's name where the backbone is another's, a detector's; options: how it is
    built then.
    """

    channels: int
    top: tuple[str, ...]
    activation: type[nn.Module]
    stage_names: tuple[str, ...] = ("features",)
    of: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


NORM_MOMENTUM = 0.1
"""torch's own, of all BatchNorm layers. torchvision's MobileNetV3 has 0.01, for ImageNet's hundreds of thousands of steps: from random
weights on 1,000 images its running means were still the untrained network's after 20 epochs, and every answer was the same class."""
LARGE_TOP = ("features.13", "features.14", "features.15", "features.16")
RESNET_STAGES = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
ARCHITECTURES = {
    "resnet18": Architecture(512, ("layer4",), nn.ReLU, RESNET_STAGES),
    "resnet50": Architecture(2048, ("layer4",), nn.ReLU, RESNET_STAGES),
    "efficientnet_b0": Architecture(1280, ("features.6", "features.7", "features.8"), nn.SiLU),
    "mobilenet_v3_small": Architecture(576, ("features.10", "features.11", "features.12"), nn.Hardswish),
    # As torchvision builds it for a detector without ImageNet's weights: half the channels in its last three blocks.
    "ssdlite320_mobilenet_v3_large": Architecture(
        480, LARGE_TOP, nn.Hardswish, of="mobilenet_v3_large", options={"reduced_tail": True}
    ),
    "mobilenet_v3_large": Architecture(960, LARGE_TOP, nn.Hardswish),
    # Without its last stage, of stride 32: that held three quarters of the weights, took a quarter of the time and found no more.
    "ssdlite_resnet18": Architecture(256, ("layer3",), nn.ReLU, RESNET_STAGES[:-1], of="resnet18"),
}


def built_arch(arch: str, weights: str) -> str:
    """What the backbone is built as: ImageNet's weights are for the network as torchvision has it, without its `options`."""
    known = ARCHITECTURES[arch]
    return known.of if weights == "imagenet" and known.options else arch


class Backbone(nn.Module):
    """images float [N, 3, H, W] -> the last feature map [N, channels, h, w].

    The state dict has torchvision's names (`layer1.0.conv1.weight`, `features.0.0.weight`) less its classifier.
    """

    def __init__(self, arch: str, stem: str = "imagenet") -> None:
        super().__init__()
        known = ARCHITECTURES[arch]
        self.arch, self.channels = arch, known.channels
        model = torchvision.models.get_model(known.of or arch, weights=None, **known.options)
        if stem == "cifar":
            _use_cifar_stem(model)
        for name in known.stage_names:
            self.add_module(name, getattr(model, name))
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = NORM_MOMENTUM

    def forward(self, images: Tensor) -> Tensor:
        features = images
        for stage in self.children():
            features = stage(features)
        return features


def steps(backbone: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """A backbone's parts in order, by torchvision's names; those of a `features` sequence one by one."""
    for name, child in backbone.named_children():
        if name == "features":
            yield from ((f"features.{number}", part) for number, part in child.named_children())
        else:
            yield name, child


def _use_cifar_stem(model: nn.Module) -> None:
    """The first convolution of He et al. 2016, section 4.2: 3x3, stride 1, no pooling, so that 32 px aren't shrunk to
    8."""
    model.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.Identity()


def build_head(arch: str, classes: int, kind: str, hidden: int, dropout: float) -> nn.Sequential:
    """pooled [N, channels] -> logits [N, classes]. `linear`: Dropout-Linear; `mlp`:
    Dropout-Linear-activation-Dropout-Linear."""
    known = ARCHITECTURES[arch]
    layers = {
        "linear": lambda: [nn.Dropout(dropout), nn.Linear(known.channels, classes)],
        "mlp": lambda: [
            nn.Dropout(dropout),
            nn.Linear(known.channels, hidden),
            known.activation(),
            nn.Dropout(dropout),
            nn.Linear(hidden, classes),
        ],
    }
    return nn.Sequential(*layers[kind]())


class Classifier(nn.Module):
    """Backbone, global average pooling, head. images float [N, 3, H, W] -> {"logits" [N, K], "pooled" [N,
    channels]}."""

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        self.pooled_channels = backbone.channels

    def feature_map(self, images: Tensor) -> Tensor:
        """The last feature map [N, channels, h, w], which Grad-CAM explains."""
        return self.backbone(images)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return self.from_pooled(self.feature_map(images).mean(dim=(2, 3)))

    def from_pooled(self, pooled: Tensor) -> dict[str, Tensor]:
        return {"logits": self.head(pooled), "pooled": pooled}
