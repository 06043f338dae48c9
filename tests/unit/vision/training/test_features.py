"""Stages that train the head alone, on features that a frozen backbone made once."""

import threading

import numpy as np
import pytest
import torch
import torch.distributed as dist

from tests.tiny_training import ALL, HEAD, TinyBackbone, coloured_loaders, plan_for, saved, tiny_model
from vision.training import epoch as epochs
from vision.training.loop import fit
from vision.training.team import Distributed


@pytest.fixture(scope="module")
def loaders():
    return coloured_loaders()


@pytest.fixture
def seen(monkeypatch):
    """How many images the backbone has looked at."""
    counts = []
    forward = TinyBackbone.forward
    monkeypatch.setattr(
        TinyBackbone, "forward", lambda self, images: counts.append(len(images)) or forward(self, images)
    )
    return counts


def test_without_augmentation_features_give_the_model_that_pixels_give(loaders, seen, monkeypatch):
    plan = plan_for([{**HEAD, "epochs": 4}], augment=[])
    quick = fit(tiny_model(), loaders, plan)
    assert sum(seen) == 48 + 27  # each image once, in four epochs
    monkeypatch.setattr(epochs, "trains_on_features", lambda *given: False)
    slow = fit(tiny_model(), loaders, plan)
    assert sum(seen) == (48 + 27) * 5
    assert quick.best_epoch == slow.best_epoch
    for name, value in slow.best.items():
        torch.testing.assert_close(quick.best[name], value, atol=1e-5, rtol=1e-4)


def test_augmentation_wins_unless_the_config_gives_it_up(loaders, seen):
    fit(tiny_model(), loaders, plan_for([HEAD]))
    assert sum(seen) == (48 + 27) * 2
    seen.clear()
    fit(tiny_model(), loaders, plan_for([HEAD, {**ALL, "epochs": 1}], cache_features=True))
    assert sum(seen) == (48 + 27) * 2  # once for both of the head's epochs, once for the whole network's one


def test_training_resumed_among_features_equals_an_unbroken_one(loaders):
    plan = plan_for([{**HEAD, "epochs": 3}, ALL], cache_features=True)
    states = []
    whole = fit(tiny_model(), loaders, plan, on_epoch=lambda record, state: states.append(saved(state)))
    resumed = fit(tiny_model(seed=99), loaders, plan, resume=states[1])
    assert [r["train_loss"] for r in resumed.history] == [r["train_loss"] for r in whole.history]
    assert all(torch.equal(resumed.best[name], value) for name, value in whole.best.items())


def test_each_members_rows_reach_every_member_in_place(monkeypatch):
    """Two members as two threads; the sum of their parts stands for gloo's."""
    meet, parts = threading.Barrier(2), {}

    def all_reduce(tensor):
        parts[threading.get_ident()] = tensor.clone()
        meet.wait(10)
        tensor.copy_(sum(parts.values()))
        meet.wait(10)

    monkeypatch.setattr(dist, "get_backend", lambda: "gloo")
    monkeypatch.setattr(dist, "all_reduce", all_reduce)
    monkeypatch.setattr("vision.training.team.FILLED_ROWS", 4)
    whole = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    held = [np.where(np.arange(10)[:, None] % 2 == rank, whole, 0).astype(np.float32) for rank in range(2)]
    members = [threading.Thread(target=Distributed(rank, 2).fill, args=(held[rank],)) for rank in range(2)]
    for member in members:
        member.start()
    for member in members:
        member.join(20)
    assert all(np.array_equal(one, whole) for one in held)
