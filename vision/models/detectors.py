"""Detectors by name: SSDLite (Howard et al. 2019; Liu et al. 2016) over MobileNetV3 or ResNet-18, of torchvision's parts.

Boxes are decoded inside the network, against anchors that are kept with its weights, and only the best candidates leave it;
so a graph of it needs nothing after it but non-maximum suppression. Anchors and boxes are shares of the image's sides.
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.ssdlite import SSDLiteHead, _extra_block, _normal_init

from vision.models.config import ModelConfig
from vision.models.factory import NORM_MOMENTUM, Backbone, built_arch

CANDIDATES = 256
"""That leave the network for each image, by the score of their best class; a hundred are ever answered with."""
CODER_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
"""What a step of one means: a tenth of an anchor's side for its centre, e^(1/5) for its side."""
MOST_GROWTH = math.log(1000 / 16)
ASPECTS = (2.0, 3.0)
FINER = {16: 0, 8: 1}
"""`finest_stride` -> maps before the one of stride 16."""

Maps = Callable[[Backbone, Tensor], list[Tensor]]


class Detector(nn.Module):
    """images float [N, 3, S, S], normalised -> what the loss takes and what is served, by name.

    `regression` float [N, A, 4] and `logits` [N, A, K + 1], the background's first, for the `anchors` [A, 4] (x1, y1, x2, y2);
    `boxes` [N, Q, 4] in 0..1 and `scores` [N, Q, K] of the Q best, the best first; `pooled` [N, D].
    """

    anchors: Tensor
    coder_weights: Tensor

    def __init__(self, backbone: Backbone, head: nn.Module, maps: Maps, anchors: Tensor) -> None:
        super().__init__()
        self.backbone, self.head, self.maps = backbone, head, maps
        self.pooled_channels = backbone.channels
        self.register_buffer("anchors", anchors)
        # Not made anew in each pass: a captured CUDA graph can't copy from the host.
        self.register_buffer("coder_weights", torch.tensor(CODER_WEIGHTS), persistent=False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = self.maps(self.backbone, images)
        regression, logits = (part.float() for part in self.head(maps))
        boxes, scores = self.decode(regression.detach(), logits.detach())
        found = {"regression": regression, "logits": logits, "anchors": self.anchors, "boxes": boxes, "scores": scores}
        return found | {"pooled": maps[-1].float().mean(dim=(2, 3))}

    def decode(self, regression: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes float [N, Q, 4] inside the image, and scores [N, Q, K]."""
        scores = logits.softmax(dim=-1)[..., 1:]
        count = min(CANDIDATES, self.anchors.shape[0])
        best = scores.amax(dim=-1).topk(count, dim=1).indices.unsqueeze(-1)
        centre, side = (part.expand(best.shape[0], -1, -1) for part in centred(self.anchors))
        steps = regression / self.coder_weights
        steps, centre, side = (part.gather(1, best.expand(-1, -1, part.shape[-1])) for part in (steps, centre, side))
        middle = centre + steps[..., :2] * side
        half = steps[..., 2:].clamp(max=MOST_GROWTH).exp() * side / 2
        boxes = torch.cat((middle - half, middle + half), dim=-1).clamp(0.0, 1.0)
        return boxes, scores.gather(1, best.expand(-1, -1, scores.shape[-1]))


class SsdLiteHead(nn.Module):
    """More maps after the backbone's, and the predictions of all."""

    def __init__(self, extra: nn.Module, predictions: SSDLiteHead) -> None:
        super().__init__()
        self.extra, self.predictions = extra, predictions

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        found = list(maps)
        for block in self.extra:
            found.append(block(found[-1]))
        made = self.predictions(found)
        return made["bbox_regression"], made["cls_logits"]


def build_detector(config: ModelConfig, classes: int, side_px: int) -> Detector:
    """Random weights, of torch's present random state."""
    backbone = Backbone(built_arch(config.arch, config.weights))
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=NORM_MOMENTUM)
    taken, widths = MAPS[config.arch]
    extra = nn.ModuleList(_extra_block(before, after, norm) for before, after in pairwise((backbone.channels, *widths)))
    _normal_init(extra)
    tapped = partial(taken, finer=FINER[config.finest_stride])
    maps = _probed(backbone, tapped, side_px)
    for block in extra.eval():
        with torch.no_grad():
            maps.append(block(maps[-1]))
    generator = _generator(config, len(maps))
    channels = [each.shape[1] for each in maps]
    predictions = SSDLiteHead(channels, generator.num_anchors_per_location(), classes + 1, norm)
    return Detector(backbone, SsdLiteHead(extra.train(), predictions), tapped, _anchors(generator, maps, side_px))


def _generator(config: ModelConfig, levels: int) -> DefaultBoxGenerator:
    """Scales by torchvision's even steps; with the finer map, which is no part of SSDLite, they double as the strides do."""
    smallest, largest = config.anchor_scales
    aspects = [list(config.anchor_aspects or ASPECTS)] * levels
    if config.finest_stride == 16:
        return DefaultBoxGenerator(aspects, min_ratio=smallest, max_ratio=largest)
    scales = [min(smallest * 2**level, largest) for level in range(levels)]
    return DefaultBoxGenerator(aspects, scales=[*scales, 1.0])


def mobilenet_maps(backbone: Backbone, images: Tensor, finer: int) -> list[Tensor]:
    """Of strides 16 (within the block that halves it, where it is widest) and 32 (the last); before them `finer` maps more,
    each of half the stride."""
    places = _strided(backbone)[-1 - finer :]
    features, found, done = images, [], 0
    for place in places:
        block = backbone.features[place].block
        found.append(block[0](backbone.features[done:place](features)))
        features, done = block[1:](found[-1]), place + 1
    return [*found, backbone.features[done:](features)]


def resnet_maps(backbone: Backbone, images: Tensor, finer: int) -> list[Tensor]:
    """Of stride 16, the last; before it `finer` maps more, each of half the stride."""
    features, found = images, []
    for stage in backbone.children():
        features = stage(features)
        found.append(features)
    return found[-1 - finer :]


MAPS = {
    "ssdlite320_mobilenet_v3_large": (mobilenet_maps, (512, 256, 256, 128)),
    "ssdlite_resnet18": (resnet_maps, (256, 128, 128)),
}
"""Those that are taken of the backbone, and the channels of those after its last, each of half the side; MobileNetV3's as torchvision
has them."""


def centred(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes [..., 4] as centres and sides, each [..., 2]."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]


def _strided(backbone: Backbone) -> list[int]:
    """Blocks that halve their map."""
    return [place for place, block in enumerate(backbone.features) if getattr(block, "_is_cn", False)]


def _probed(backbone: Backbone, maps: Maps, side_px: int) -> list[Tensor]:
    """The maps of a black image, for their shapes; no statistics move."""
    with torch.no_grad():
        found = maps(backbone.eval(), torch.zeros(1, 3, side_px, side_px))
    backbone.train()
    return found


def _anchors(generator: nn.Module, maps: list[Tensor], side_px: int) -> Tensor:
    """float [A, 4] in shares of the sides."""
    images = ImageList(torch.zeros(1, 3, side_px, side_px), [(side_px, side_px)])
    return generator(images, maps)[0].float() / side_px
