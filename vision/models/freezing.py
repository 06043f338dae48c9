"""Which parts of a network train. A frozen part keeps its BatchNorm statistics too: it stays in eval mode."""

from typing import Literal

from torch import Tensor, nn

from vision.models.factory import ARCHITECTURES, Classifier, steps

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


class Frozen(nn.Module):
    """images float [N, 3, H, W] -> what the frozen layers make of them: float [N, C, h, w] before the trained ones of the backbone,
    or pooled [N, D] where the head alone trains. Shares the classifier's parameters."""

    def __init__(self, network: Classifier, part: Part) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_split_layers(network, part)[0])
        self.pools = part == "head"

    def forward(self, images: Tensor) -> Tensor:
        found = self.layers(images)
        return found.mean(dim=(2, 3)) if self.pools else found


class Rest(nn.Module):
    """What `Frozen` gives -> the classifier's outputs by name."""

    def __init__(self, network: Classifier, part: Part) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_split_layers(network, part)[1])
        self.network = network
        self.pools = part != "head"

    def forward(self, found: Tensor) -> dict[str, Tensor]:
        found = self.layers(found)
        return self.network.from_pooled(found.mean(dim=(2, 3)) if self.pools else found)


def split_frozen(network: nn.Module, part: Part) -> tuple[Frozen, Rest] | None:
    """A classifier in two, one after the other; None where all of it trains, or the network is no such chain."""
    if part == "all" or not isinstance(network, Classifier):
        return None
    return Frozen(network, part), Rest(network, part)


def _split_layers(network: Classifier, part: Part) -> tuple[list[nn.Module], list[nn.Module]]:
    """The backbone's layers from image to map: those that are frozen, and those that train."""
    names, layers = zip(*steps(network.backbone), strict=True)
    top = ARCHITECTURES[network.backbone.arch].top
    first = names.index(top[0]) if part == "top" else len(layers)
    return list(layers[:first]), list(layers[first:])
