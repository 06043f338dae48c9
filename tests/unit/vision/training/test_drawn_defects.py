import numpy as np
import pytest
import torch

from vision.augment import build_augment
from vision.errors import UserError
from vision.models.config import ModelConfig
from vision.models.network import ServedModel
from vision.package import InputSpec
from vision.training import defect_drawing
from vision.training.config import TrainingConfig
from vision.training.defect_drawing import draw_defects
from vision.training.drawn_defects import DrawnDefects
from vision.training.epoch import Plan
from vision.training.loaders import Loaders, SplitData
from vision.training.loop import fit
from vision.training.pretraining import DrawnDefectsConfig, pretraining_as_training

ONE_STAGE = [{"name": "all", "epochs": 1, "trainable": "all", "lr": 1e-3}]
TRAINING = TrainingConfig(stages=ONE_STAGE, stages_from_scratch=ONE_STAGE, precision="float32", workers=1)
SPEC = InputSpec(side_px=64, resize_px=64, crop="squash")
MODEL = ModelConfig(memory={"layers": ("layer1", "layer2")})


def metal(count: int, side_px: int = 64, seed: int = 0) -> np.ndarray:
    """Brushed plates: columns of their own brightness, and noise. uint8 [count, S, S, 3]."""
    rng = np.random.default_rng(seed)
    grey = 110 + 6 * rng.standard_normal((count, 1, side_px)) + 3 * rng.standard_normal((count, side_px, side_px))
    return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=3)


def normalised(images: np.ndarray) -> torch.Tensor:
    return (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - 0.45) / 0.225


def test_what_is_marked_was_changed_and_little_else():
    torch.manual_seed(0)
    images = normalised(metal(60))
    drawn, where = draw_defects(images)
    change = (drawn - images).abs().mean(dim=1)
    assert where.shape == (60, 64, 64)
    assert where.dtype == torch.bool
    assert change[where].mean() > 10 * change[~where].mean()
    clean = ~where.flatten(1).any(dim=1)
    assert 0.1 < clean.float().mean() < 0.6  # a quarter is left alone, and some defects can't be seen
    assert torch.equal(images, normalised(metal(60)))  # the batch that came in is as it was


def test_a_change_that_nobody_sees_is_no_defect(monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(defect_drawing, "OPACITY", (0.001, 0.002))
    assert not draw_defects(normalised(metal(30)))[1].any()


def test_shapes_are_small_and_large_thin_and_thick_and_lie_everywhere():
    torch.manual_seed(1)
    shapes = defect_drawing._shapes(400, 64) > defect_drawing.INSIDE
    areas = shapes.flatten(1).float().mean(dim=1)
    assert areas.max() > 0.05
    assert (areas < 0.01).float().mean() > 0.2
    covered = shapes.float().mean(dim=0)
    assert covered.min() > 0
    assert covered.max() < 0.2


def test_lines_are_as_wide_as_they_are_said_to_be():
    """Distances to a tilted straight line, from its level."""
    down, right = torch.meshgrid(torch.arange(20.0), torch.arange(20.0), indexing="ij")
    level = 0.03 * (3 * right + 4 * down - 50)
    assert torch.allclose(defect_drawing._px_from_zero(level[None])[0], (3 * right + 4 * down - 50) / 5, atol=1e-4)


def test_drawing_is_repeated_by_torchs_seed():
    images = normalised(metal(8))
    results = []
    for _ in range(2):
        torch.manual_seed(7)
        results.append(draw_defects(images))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_it_learns_where_the_defects_are():
    """On plates that it never saw, places with a defect are hotter than those without, of which it knew nothing before."""
    config = DrawnDefectsConfig(epochs=30, batch_size=8, views=2, crop_scale=(0.8, 1.0))
    training, learning = pretraining_as_training(config, TRAINING, 64), DrawnDefects(config.hidden, config.views)
    network = learning.network(MODEL, (), 0)
    model = ServedModel(network, learning.outputs, (0.45,) * 3, (0.225,) * 3)
    images = metal(32)
    split = SplitData(images, np.arange(32), np.arange(32))
    before = separated(network)
    plan = Plan(learning, (), SPEC, training, training.stages, learning.views)
    history = fit(model, Loaders(train=split, val=SplitData(images, np.arange(0), np.arange(0))), plan).history
    assert history[-1]["train_loss"] < 0.7 * history[0]["train_loss"]
    assert before < 0.65
    assert separated(network) > 0.75


def separated(network) -> float:
    """AUROC of the head's places."""
    from sklearn.metrics import roc_auc_score

    torch.manual_seed(5)
    network.eval()
    with torch.inference_mode():
        found = network(normalised(metal(40, seed=9)))
    return roc_auc_score(found["drawn"].flatten() > 0, found["logits"].flatten())


def test_only_what_a_memory_reads_is_there_to_train():
    """With more than one worker torch refuses parameters that no gradient reaches."""
    network = DrawnDefects(8, 1).network(MODEL, (), 0)
    network.train()
    torch.manual_seed(0)
    DrawnDefects(8, 1).loss(network(normalised(metal(4))), None, TRAINING).backward()
    assert [name for name, value in network.named_parameters() if value.grad is None] == []
    assert not any(name.startswith("backbone.layer3") for name, _ in network.named_parameters())


def test_views_are_cropped_turned_over_and_lit_differently():
    steps = DrawnDefectsConfig().augment(64)
    assert [step.name for step in steps] == ["random_resized_crop", "horizontal_flip", "vertical_flip", "color_jitter"]
    views = build_augment(steps, SPEC, (0.5,) * 3)(torch.from_numpy(metal(1)).repeat(30, 1, 1, 1), torch.Generator())
    assert views.shape == (30, 3, 64, 64)
    assert views.mean(dim=(1, 2, 3)).std() > 10


def test_random_state_of_the_caller_is_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first = DrawnDefects(8, 1).network(MODEL, (), 5).state_dict()
    assert torch.equal(torch.rand(1), expected)
    again = DrawnDefects(8, 1).network(MODEL, (), 5).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    with pytest.raises(UserError, match=r"memory\.layers: layer9"):
        DrawnDefects(8, 1).network(ModelConfig(memory={"layers": ("layer9",)}), (), 5)
