"""The loss of detectors: SSD's (Liu et al. 2016, section 2.2), on torchvision's matcher.

Anchors and boxes are shares of the image's sides; overlaps and steps between them know no unit.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.models.detection._utils import BoxCoder, SSDMatcher
from torchvision.ops import box_iou

from vision.models.detectors import CODER_WEIGHTS

MATCHED = 0.5
"""Overlap from which an anchor is a box's; the best one of each box always is."""
NEGATIVES = 3
"""Anchors of the background for each that is matched, the hardest first."""
LEAST_NEGATIVES = 16
"""Of an image: one without any box teaches what no defect looks like. SSD itself would learn nothing from it."""

Targets = Sequence[Mapping[str, Tensor]]


def detection_loss(outputs: Mapping[str, Tensor], targets: Targets, label_smoothing: float) -> Tensor:
    """outputs: of `vision.models.detectors.Detector`. targets: `boxes` [n, 4] and `labels` [n] of each image."""
    matched = torch.stack([_match(target["boxes"], outputs["anchors"]) for target in targets])
    positives = matched >= 0
    count = positives.sum().clamp(min=1)
    labels = torch.stack([_labels(target["labels"], row) for target, row in zip(targets, matched, strict=True)])
    box = _box_loss(outputs, targets, matched, positives)
    return (box + _mined(outputs["logits"], labels + 1, positives, label_smoothing)) / count


def _match(boxes: Tensor, anchors: Tensor) -> Tensor:
    """int64 [A]: which box each anchor is of; negative for none."""
    if len(boxes) == 0:
        return torch.full((len(anchors),), SSDMatcher.BELOW_LOW_THRESHOLD, device=anchors.device)
    return SSDMatcher(MATCHED)(box_iou(boxes, anchors))


def _labels(labels: Tensor, matched: Tensor) -> Tensor:
    """int64 [A]: class of each anchor, -1 for none."""
    if len(labels) == 0:
        return torch.full_like(matched, -1)
    return torch.where(matched >= 0, labels[matched.clamp(min=0)], -1)


def _box_loss(outputs: Mapping[str, Tensor], targets: Targets, matched: Tensor, positives: Tensor) -> Tensor:
    coder, anchors = BoxCoder(CODER_WEIGHTS), outputs["anchors"]
    wanted = [
        coder.encode_single(target["boxes"][row[mask]], anchors[mask])
        for target, row, mask in zip(targets, matched, positives, strict=True)
    ]
    return functional.smooth_l1_loss(outputs["regression"][positives], torch.cat(wanted), reduction="sum")


def _mined(logits: Tensor, classes: Tensor, positives: Tensor, label_smoothing: float) -> Tensor:
    """Cross-entropy of matched anchors and of the hardest others. classes [N, A]: 0 is the background."""
    losses = functional.cross_entropy(
        logits.transpose(1, 2), classes, reduction="none", label_smoothing=label_smoothing
    )
    hardness = losses.detach().masked_fill(positives, -1.0)
    rank = hardness.argsort(dim=1, descending=True).argsort(dim=1)
    taken = (NEGATIVES * positives.sum(dim=1, keepdim=True)).clamp(min=LEAST_NEGATIVES)
    return losses[positives].sum() + losses[(rank < taken) & ~positives].sum()
