"""A network of two convolutions, and images that it tells apart by their colour: trainings of a tenth of a second."""

import io

import numpy as np
import torch
from torch import nn

from vision.kinds.classify_learning import ClassifyLearning
from vision.models.network import ServedModel
from vision.package import InputSpec
from vision.training.config import TrainingConfig
from vision.training.epoch import Plan
from vision.training.loaders import Loaders, SplitData

SIDE_PX, CACHE_PX = 16, 20
AUGMENT = [
    {"name": "random_resized_crop", "args": {"scale": (0.6, 1.0)}},
    {"name": "horizontal_flip"},
    {"name": "color_jitter", "args": {"brightness": 0.1, "hue": 0.02}},
]


class TinyBackbone(nn.Module):
    """Two convolutions with BatchNorm; the second is what `top` trains, under a name that resnet18 has."""

    def __init__(self):
        super().__init__()
        self.arch, self.channels = "resnet18", 12
        self.conv1 = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.layer4 = nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU())

    def forward(self, images):
        return self.layer4(self.conv1(images))


def tiny_model(seed=0, dropout=0.2):
    from vision.models.factory import Classifier

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Classifier(TinyBackbone(), nn.Sequential(nn.Dropout(dropout), nn.Linear(12, 3)))
    return ServedModel(network, ("logits", "embedding"), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def coloured_images(count, seed):
    """Three classes that differ in which channel is bright; uint8 [count, 20, 20, 3] and targets."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 3, count)
    images = rng.integers(40, 120, (count, CACHE_PX, CACHE_PX, 3))
    images[np.arange(count), :, :, targets] += 70
    return images.astype(np.uint8), targets.astype(np.int64)


def coloured_loaders():
    """48 images to train on, 27 to validate on."""
    images, targets = coloured_images(75, seed=1)
    first, last = np.arange(48), np.arange(48, 75)
    return Loaders(SplitData(images, first, targets[:48]), SplitData(images, last, targets[48:]))


def plan_for(stages, **settings):
    settings = {"batch_size": 12, "precision": "float32", "augment": AUGMENT, **settings}
    config = TrainingConfig(stages=stages, stages_from_scratch=stages, **settings)
    spec = InputSpec(side_px=SIDE_PX, resize_px=CACHE_PX)
    return Plan(ClassifyLearning(), ("a", "b", "c"), spec, config, config.stages)


HEAD = {"name": "head", "epochs": 2, "trainable": "head", "lr": 1e-2}
TOP = {"name": "top", "epochs": 2, "trainable": "top", "lr": 1e-2, "backbone_lr": 1e-3}
ALL = {"name": "all", "epochs": 3, "trainable": "all", "lr": 1e-2, "warmup_epochs": 1}


def saved(state):
    """What a checkpoint gives back: written by torch, read as tensors and plain values only."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)
