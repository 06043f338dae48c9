"""A detector of three convolutions, and images with coloured rectangles that it finds after some seconds of training."""

import functools

import numpy as np
import torch
from torch import nn

from vision.models.detectors import Detector
from vision.models.network import ServedModel

SIDE_PX, LABELS = 64, ("dent", "scratch")
COLOURS = ((30, 60, 200), (220, 40, 40))
STRIDE = 8


class TinyBackbone(nn.Module):
    """Three convolutions with BatchNorm, under a name that resnet18 has; `layer4` is what `top` trains."""

    def __init__(self):
        super().__init__()
        self.arch, self.channels = "resnet18", 24
        self.conv1 = nn.Sequential(_block(3, 12), _block(12, 16))
        self.layer4 = _block(16, 24)

    def forward(self, images):
        return self.layer4(self.conv1(images))


def _block(channels, more):
    return nn.Sequential(nn.Conv2d(channels, more, 3, 2, 1, bias=False), nn.BatchNorm2d(more), nn.ReLU())


class TinyHead(nn.Module):
    """Two anchors at each place."""

    def __init__(self, classes):
        super().__init__()
        self.box, self.label = nn.Conv2d(24, 8, 3, 1, 1), nn.Conv2d(24, 2 * (classes + 1), 3, 1, 1)
        self.classes = classes

    def forward(self, maps):
        def flat(values, size):
            return values.permute(0, 2, 3, 1).reshape(values.shape[0], -1, size)

        return flat(self.box(maps[-1]), 4), flat(self.label(maps[-1]), self.classes + 1)


def _maps(backbone, images):
    return [backbone(images)]


def tiny_anchors():
    line = (torch.arange(SIDE_PX // STRIDE) + 0.5) * STRIDE / SIDE_PX
    y, x = torch.meshgrid(line, line, indexing="ij")
    centre = torch.stack((x, y), dim=-1).reshape(-1, 1, 2).repeat(1, 2, 1)
    half = torch.tensor([[0.12, 0.12], [0.2, 0.2]])
    return torch.cat((centre - half, centre + half), dim=-1).reshape(-1, 4)


def tiny_model(seed=0):
    from vision.kinds import answering

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Detector(TinyBackbone(), TinyHead(len(LABELS)), _maps, tiny_anchors())
    return ServedModel(network, answering("detect").outputs, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def drawn_boxes(count, seed, most=2, side_px=SIDE_PX):
    """uint8 [count, side, side, 3] with 0 to `most` coloured rectangles each, and their targets."""
    rng, images, targets = np.random.default_rng(seed), [], []
    for _ in range(count):
        image, places, labels = rng.integers(90, 160, (side_px, side_px, 3)), [], []
        for _ in range(rng.integers(0, most + 1)):
            side = rng.uniform(0.22, 0.4, 2)
            low = rng.uniform(0, 1 - side)
            box = np.round(np.concatenate((low, low + side)) * side_px).astype(int)
            if any((np.minimum(box[2:], p[2:]) > np.maximum(box[:2], p[:2])).all() for p in places):
                continue
            label = int(rng.integers(len(LABELS)))
            image[box[1] : box[3], box[0] : box[2]] = COLOURS[label]
            places.append(box)
            labels.append(label)
        images.append(image)
        boxes = torch.tensor(np.array(places, float).reshape(-1, 4) / side_px, dtype=torch.float32)
        targets.append({"boxes": boxes, "labels": torch.tensor(labels, dtype=torch.int64)})
    return np.stack(images).astype(np.uint8), targets


@functools.cache
def trained_model(steps=150):
    """Finds most rectangles after some seconds. In eval mode; not to be changed."""
    from vision.training.box_loss import detection_loss

    model = tiny_model()
    images, targets = drawn_boxes(160, seed=1)
    optimizer = torch.optim.AdamW(model.network.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    rng, _ = np.random.default_rng(0), model.train()
    for _ in range(steps):
        chosen = rng.choice(len(images), 16, replace=False)
        outputs = model.network(model.normalise(torch.from_numpy(images[chosen])))
        optimizer.zero_grad()
        detection_loss(outputs, [targets[number] for number in chosen], 0.0).backward()
        optimizer.step()
        schedule.step()
    return model.eval()
