import math

import numpy as np
import pytest
import torch

from vision.augment import build_augment
from vision.models.config import ModelConfig
from vision.models.network import ServedModel
from vision.package import InputSpec
from vision.training.config import TrainingConfig
from vision.training.epoch import Plan
from vision.training.loaders import Loaders, SplitData
from vision.training.loop import fit
from vision.training.pretraining import SimClrConfig, pretraining_as_training
from vision.training.simclr import SimClr, SimClrNetwork, nt_xent

ONE_STAGE = [{"name": "all", "epochs": 1, "trainable": "all", "lr": 1e-3}]
TRAINING = TrainingConfig(stages=ONE_STAGE, stages_from_scratch=ONE_STAGE, precision="float32", label_share=0.1)
SPEC = InputSpec(side_px=16, resize_px=20)


def test_nt_xent_has_the_value_worked_out_by_hand():
    """Two images whose views agree and that are at right angles: each view sees cosines 1, 0, 0 of the three others."""
    views = torch.tensor([[3.0, 0.0], [0.0, 0.5], [1.0, 0.0], [0.0, 2.0]])
    assert nt_xent(views, 1.0).item() == pytest.approx(math.log(1 + 2 / math.e), abs=1e-6)
    assert nt_xent(views, 0.5).item() == pytest.approx(math.log(1 + 2 / math.e**2), abs=1e-6)
    assert nt_xent(torch.ones(6, 4), 0.5).item() == pytest.approx(math.log(5), abs=1e-6)


def test_nt_xent_is_equation_1_written_out():
    count, temperature = 5, 0.2
    views = torch.randn(2 * count, 7, generator=torch.Generator().manual_seed(3)).double().numpy()
    unit = views / np.linalg.norm(views, axis=1, keepdims=True)
    total = 0.0
    for row in range(2 * count):
        partner = (row + count) % (2 * count)
        others = [math.exp(unit[row] @ unit[k] / temperature) for k in range(2 * count) if k != row]
        total -= math.log(math.exp(unit[row] @ unit[partner] / temperature) / sum(others))
    assert nt_xent(torch.from_numpy(views), temperature).item() == pytest.approx(total / (2 * count), rel=1e-5)


def test_views_have_their_own_size_and_differ_in_crop_and_colour():
    config = SimClrConfig(side_px=24)
    steps = config.augment(24)
    assert [step.name for step in steps] == [
        "random_resized_crop", "horizontal_flip", "color_jitter", "grayscale", "gaussian_blur",
    ]  # fmt: skip
    augment = build_augment(steps, InputSpec(side_px=24, resize_px=32), (0.5, 0.5, 0.5))
    image = torch.randint(256, (1, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    views = augment(image.repeat(40, 1, 1, 1), torch.Generator().manual_seed(1))
    assert views.shape == (40, 3, 24, 24)
    assert views.min() >= 0
    assert views.max() < 255.01
    assert len({tuple(view.flatten()[:40].tolist()) for view in views}) == 40
    grey = ((views[:, 0] - views[:, 1]).abs().amax(dim=(1, 2)) < 1e-2).sum()
    assert 2 <= grey <= 18  # 8 are expected


def test_colour_stays_where_it_tells_the_classes_apart():
    config = SimClrConfig(color_strength=0, blur=0)
    assert [step.name for step in config.augment(96)] == ["random_resized_crop", "horizontal_flip"]


def test_pretraining_keeps_workers_and_seed_and_uses_every_image():
    training = TRAINING.model_copy(update={"workers": 3, "seed": 5, "early_stop_epochs": 2})
    config = SimClrConfig(epochs=20, warmup=0.25, batch_size=64)
    found = pretraining_as_training(config, training, 16)
    assert (found.workers, found.seed, found.batch_size) == (3, 5, 64)
    assert (found.label_share, found.early_stop_epochs, found.label_smoothing) == (1.0, None, 0.0)
    assert (found.stages[0].warmup_epochs, found.stages[0].trainable) == (5.0, "all")
    TrainingConfig.model_validate(found.model_dump())


class TinyBackbone(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.arch, self.channels = "resnet18", 16
        self.layer4 = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 5, 3, bias=False), torch.nn.BatchNorm2d(16))

    def forward(self, images):
        return torch.relu(self.layer4(images))


def test_fit_learns_which_views_belong_together_without_looking_at_a_label():
    rng = np.random.default_rng(0)
    images = (rng.random((32, 1, 1, 3)) * 200 + rng.random((32, 20, 20, 3)) * 55).astype(np.uint8)
    config = SimClrConfig(epochs=12, batch_size=16, temperature=0.2, hidden=16, size=8, color_strength=0.1, lr=1e-2)
    training = pretraining_as_training(config, TRAINING, SPEC.side_px)
    method = SimClr(config.temperature, config.hidden, config.size)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = SimClrNetwork(TinyBackbone(), 16, 8)
    model = ServedModel(network, method.outputs, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    nothing = SplitData(images, np.arange(0), np.arange(0))
    loaders = Loaders(train=SplitData(images, np.arange(32), np.arange(32)), val=nothing)
    result = fit(model, loaders, Plan(method, (), SPEC, training, training.stages, method.views))
    losses = [record["train_loss"] for record in result.history]
    assert losses[0] < 2 * math.log(31)
    assert min(losses) < 0.75 * math.log(31), losses
    assert result.score == -min(losses)
    assert not [name for name in result.history[0] if name.startswith("val_")]


def test_network_is_the_backbone_that_classifiers_have_and_random_state_is_left_alone():
    from vision.models.factory import Backbone

    before = torch.get_rng_state()
    network = SimClr(0.5, None, 128).network(ModelConfig(arch="mobilenet_v3_small"), (), seed=4)
    assert torch.equal(before, torch.get_rng_state())
    assert network.backbone.state_dict().keys() == Backbone("mobilenet_v3_small").state_dict().keys()
    found = network.eval()(torch.zeros(2, 3, 32, 32))
    assert (found["projected"].shape, found["pooled"].shape) == ((2, 128), (2, 576))
