import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from vision.errors import UserError
from vision.kinds.classify_learning import ClassifyLearning
from vision.models.config import ModelConfig
from vision.models.network import IMAGENET_MEAN
from vision.training.config import OptimizerConfig, StageConfig, TrainingConfig
from vision.training.loaders import SplitData, in_order, prefetched, shuffled
from vision.training.schedules import lr_factor
from vision.training.seeds import derived_seed, set_seed
from vision.training.stages import build_optimizer, set_rates, stages_for
from vision.training.statistics import channel_statistics, normalisation
from vision.training.team import Alone

STAGE = StageConfig(name="s", epochs=1, trainable="all", lr=0.1, backbone_lr=0.01)


def test_one_cycle_is_torchs():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = OneCycleLR(optimizer, max_lr=1.0, total_steps=40)
    for step in range(40):
        assert lr_factor("one_cycle", step, 40, 0) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-6)
        optimizer.step()
        scheduler.step()


def test_cosine_warms_up_to_the_full_rate_and_ends_near_zero():
    factors = [lr_factor("cosine", step, 100, 10) for step in range(100)]
    assert factors[0] == pytest.approx(1 / 11)
    assert max(factors) == factors[10] == 1.0
    assert factors[55] == pytest.approx(0.5)
    assert 0 < factors[-1] < 0.001
    assert factors[10:] == sorted(factors[10:], reverse=True)


def test_constant_rate_stays_after_its_warm_up():
    assert [lr_factor("constant", step, 9, 2) for step in (0, 1, 2, 8)] == [1 / 3, 2 / 3, 1.0, 1.0]


def test_backbone_has_its_own_rate_and_vectors_take_no_weight_decay():
    network = ClassifyLearning().network(ModelConfig(arch="mobilenet_v3_small"), ("a", "b"), 0)
    optimizer = build_optimizer(network, STAGE, OptimizerConfig(weight_decay=0.05))
    set_rates(optimizer, 0.5)
    rates = {id(p): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    for name, value in network.named_parameters():
        rate = 0.005 if name.startswith("backbone.") else 0.05
        assert rates[id(value)] == (rate, 0.05 if value.ndim > 1 else 0.0), name


def test_betas_are_torchs_own_unless_the_configuration_has_others():
    def betas(config):
        return build_optimizer(nn.Linear(2, 2), STAGE, config).defaults["betas"]

    assert betas(OptimizerConfig()) == torch.optim.AdamW(nn.Linear(2, 2).parameters()).defaults["betas"]
    assert betas(OptimizerConfig(betas=(0.8, 0.99))) == (0.8, 0.99)


def test_random_start_takes_the_stages_from_scratch():
    other = STAGE.model_copy(update={"name": "scratch"})
    config = TrainingConfig(stages=(STAGE,), stages_from_scratch=(other,))
    assert stages_for(config, started_from_random=False) == (STAGE,)
    assert stages_for(config, started_from_random=True) == (other,)


def members(size):
    return [Alone(rank, size) for rank in range(size)]


def test_a_team_sees_every_image_once_an_epoch_in_an_order_that_depends_on_the_epoch():
    alone = np.concatenate(shuffled(52, 8, seed=1, epoch=3, team=Alone()))
    assert sorted(alone) == list(range(52))
    shares = [shuffled(52, 8, 1, 3, member) for member in members(2)]
    assert sorted(np.concatenate([*shares[0], *shares[1]])) == list(range(52))
    assert {len(batch) for batch in shares[0][:-1]} == {4}
    assert len(shares[0]) == len(shares[1])
    assert not np.array_equal(alone, np.concatenate(shuffled(52, 8, 1, 4, Alone())))
    assert np.array_equal(alone, np.concatenate(shuffled(52, 8, 1, 3, Alone())))


def test_a_last_batch_too_small_for_batch_norm_is_left_out():
    assert [len(batch) for batch in shuffled(17, 8, 0, 1, Alone())] == [8, 8]
    assert [len(batch) for batch in shuffled(18, 8, 0, 1, Alone())] == [8, 8, 2]
    assert [len(batch) for batch in shuffled(19, 8, 0, 1, members(2)[1])] == [4, 4]


def test_too_few_images_for_one_step_are_refused():
    with pytest.raises(UserError, match="3 training images"):
        shuffled(3, 8, 0, 1, members(2)[0])


def test_validation_leaves_nothing_out():
    shares = [np.concatenate(in_order(11, 4, member)) for member in members(3)]
    assert sorted(np.concatenate(shares)) == list(range(11))


def test_split_reads_its_own_rows_of_a_memory_map(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    split = SplitData(np.load(tmp_path / "images.npy", mmap_mode="r"), np.array([4, 1, 3]), np.zeros(3))
    read = split.read(np.array([2, 0]))
    assert np.array_equal(read.numpy(), images[[3, 4]])
    read += 1


def test_prefetching_keeps_order_raises_errors_in_place_and_ends_its_thread():
    import threading

    def failing():
        yield from range(3)
        raise ValueError("torn")

    before = threading.active_count()
    assert list(prefetched(iter(range(20)))) == list(range(20))
    seen = []
    with pytest.raises(ValueError, match="torn"):
        for item in prefetched(failing()):
            seen.append(item)
    assert seen == [0, 1, 2]
    endless = prefetched(iter(int, 1))
    next(endless)
    endless.close()
    assert threading.active_count() == before


def test_channel_statistics_are_exact_over_chunks():
    images = np.random.default_rng(0).integers(0, 200, (600, 5, 5, 3), dtype=np.uint8)
    indices = np.arange(10, 590)
    mean, std = channel_statistics(images, indices)
    wanted = images[indices].reshape(-1, 3) / 255
    np.testing.assert_allclose(mean, wanted.mean(axis=0))
    np.testing.assert_allclose(std, wanted.std(axis=0))
    assert channel_statistics(np.zeros((3, 2, 2, 3), np.uint8), np.arange(3))[1] == (1 / 255,) * 3
    assert normalisation(ModelConfig(), images, indices)[0] == IMAGENET_MEAN
    assert normalisation(ModelConfig(normalise="dataset"), images, indices)[0] == mean


def test_seeds_derive_from_all_their_parts():
    seeds = {
        derived_seed(1, "order", 2),
        derived_seed(1, "order", 3),
        derived_seed(1, "augment", 2),
        derived_seed(2, "order", 2),
    }
    assert len(seeds) == 4
    assert derived_seed(42, "order", 1) == 6928704660072836851


def test_set_seed_repeats_every_source_of_chance():
    import random

    def draws():
        set_seed(11)
        return random.random(), np.random.rand(), float(torch.rand(1)), torch.backends.cudnn.deterministic

    assert draws() == draws()


def test_scores_equal_scikit_learns():
    from sklearn.metrics import accuracy_score, f1_score, log_loss

    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(60, 4)).astype(np.float32), rng.integers(0, 3, 60)
    found = ClassifyLearning().score({"logits": logits}, targets, ("a", "b", "c", "d"))
    shares = torch.softmax(torch.from_numpy(logits).double(), 1).numpy()
    assert found["accuracy"] == pytest.approx(accuracy_score(targets, logits.argmax(1)))
    assert found["macro_f1"] == pytest.approx(f1_score(targets, logits.argmax(1), average="macro"))
    assert found["loss"] == pytest.approx(log_loss(targets, shares, labels=range(4)), rel=1e-5)


def test_targets_are_positions_in_the_labels_and_unknown_labels_raise():
    rows = pd.DataFrame({"label": ["b", "a", "b"]})
    learning = ClassifyLearning()
    targets = learning.targets(rows, ("a", "b"))
    assert targets.tolist() == [1, 0, 1]
    assert learning.collate(targets, np.array([1, 2])).tolist() == [0, 1]
    with pytest.raises(KeyError):
        learning.targets(rows, ("a", "c"))


def test_loss_smooths_labels():
    logits = torch.tensor([[4.0, 0.0], [0.0, 4.0]])
    config = TrainingConfig(stages=(STAGE,), stages_from_scratch=(STAGE,), label_smoothing=0.2)
    found = ClassifyLearning().loss({"logits": logits}, torch.tensor([0, 1]), config)
    right, wrong = math.log1p(math.exp(-4)), 4 + math.log1p(math.exp(-4))
    assert float(found) == pytest.approx(0.9 * right + 0.1 * wrong, rel=1e-5)
