"""Which parts of a network train. A frozen part keeps its BatchNorm statistics too: it stays in eval mode."""

from typing import Literal

from torch import nn

from vision.models.factory import ARCHITECTURES

Part = Literal["head", "top", "all"]


def trained_modules(network: nn.Module, part: Part) -> list[nn.Module]:
    """The modules of `network` (a backbone under `.backbone`, everything else being head) that `part` trains."""
    heads = [child for name, child in network.named_children() if name != "backbone"]
    if part == "head":
        return heads
    if part == "top":
        return [network.backbone.get_submodule(name) for name in ARCHITECTURES[network.backbone.arch].top] + heads
    return [network]


def freeze_except(network: nn.Module, part: Part) -> None:
    """Sets `requires_grad` of every parameter: True in the modules of `part`, False elsewhere."""
    network.requires_grad_(False)
    for module in trained_modules(network, part):
        module.requires_grad_(True)


def set_training_mode(network: nn.Module, part: Part) -> None:
    """Train mode for the modules of `part`, eval mode (fixed BatchNorm statistics, no dropout) for the rest."""
    network.eval()
    for module in trained_modules(network, part):
        module.train()
