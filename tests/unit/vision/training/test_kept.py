"""Stages with frozen layers, on what these made of each image once."""

import errno
import threading
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.distributed as dist

from tests.tiny_training import ALL, HEAD, TOP, TinyBackbone, coloured_loaders, plan_for, saved, tiny_model
from vision.machine_faults import explained
from vision.models.factory import ARCHITECTURES, Backbone, Classifier, build_head
from vision.models.freezing import freeze_except, set_training_mode, split_frozen
from vision.training import epoch as epochs
from vision.training import kept
from vision.training.loop import fit
from vision.training.team import Distributed

CLASSIFIERS = [name for name, known in ARCHITECTURES.items() if not known.of]


@pytest.fixture(scope="module")
def loaders():
    return coloured_loaders()


@pytest.fixture
def seen(monkeypatch):
    """How many images each layer of the backbone has looked at."""
    counts = {"conv1": 0, "layer4": 0}
    made = TinyBackbone.__init__

    def watched(self):
        made(self)
        for name in counts:
            getattr(self, name).register_forward_pre_hook(lambda layer, given, name=name: count(name, len(given[0])))

    def count(name, images):
        counts[name] += images

    monkeypatch.setattr(TinyBackbone, "__init__", watched)
    return counts


@pytest.mark.parametrize("arch", CLASSIFIERS)
@pytest.mark.parametrize("part", ["head", "top"])
def test_the_two_parts_of_a_network_give_what_the_whole_gives(arch, part):
    network = Classifier(Backbone(arch), build_head(arch, 3, "linear", 16, 0.2))
    freeze_except(network, part)
    set_training_mode(network, part)
    images = torch.rand(4, 3, 64, 64)
    frozen, rest = split_frozen(network, part)
    assert not any(value.requires_grad for value in frozen.parameters())
    torch.manual_seed(0)
    parts = rest(frozen(images))
    torch.manual_seed(0)
    whole = network(images)
    torch.testing.assert_close(parts["logits"], whole["logits"])
    torch.testing.assert_close(parts["pooled"], whole["pooled"])
    assert split_frozen(network, "all") is None


@pytest.mark.parametrize("stage", [HEAD, TOP])
def test_without_augmentation_kept_images_give_the_model_that_pixels_give(loaders, seen, monkeypatch, stage):
    plan = plan_for([{**stage, "epochs": 4}], augment=[])
    quick = fit(tiny_model(), loaders, plan)
    assert seen["conv1"] == 48 + 27  # each image once, in four epochs
    assert seen["layer4"] == (48 + 27) * (1 if stage is HEAD else 4)
    monkeypatch.setattr(epochs, "split_frozen", lambda *given: None)
    slow = fit(tiny_model(), loaders, plan)
    assert seen["conv1"] == (48 + 27) * 5
    assert quick.best_epoch == slow.best_epoch
    for name, value in slow.best.items():
        torch.testing.assert_close(quick.best[name], value, atol=1e-5, rtol=1e-4)


def test_augmentation_wins_unless_the_config_gives_it_up(loaders, seen):
    """The validation's images are always the same, so they are seen once."""
    fit(tiny_model(), loaders, plan_for([HEAD]))
    assert seen["conv1"] == 48 * 2 + 27
    seen.update(conv1=0)
    fit(tiny_model(), loaders, plan_for([HEAD, {**ALL, "epochs": 1}], cached_views=0))
    assert seen["conv1"] == (48 + 27) * 2  # once for both of the head's epochs, once for the whole network's one


def test_each_epoch_takes_another_of_the_kept_views(loaders, seen, monkeypatch):
    monkeypatch.setattr(epochs, "_step", lambda run, inputs, targets: taken.append(inputs) or torch.zeros(()))
    monkeypatch.setattr(epochs, "shuffled", lambda count, *rest: [np.arange(count)])
    taken = []
    fit(tiny_model(), loaders, plan_for([{**TOP, "epochs": 4}], cached_views=3))
    assert seen["conv1"] == 48 * 3 + 27
    assert all((one != other).flatten(1).any(1).all() for one, other in pairwise(taken))
    assert torch.equal(taken[0], taken[3])


@pytest.mark.parametrize(
    ("stages", "times"),
    [([HEAD, TOP], 1), ([TOP, HEAD], 2), ([TOP, TOP], 1), ([HEAD, ALL, TOP], 2)],
    ids=["head then top", "top then head", "top twice", "with all between"],
)
def test_stages_in_a_row_that_freeze_the_same_layers_share_what_those_made(loaders, seen, stages, times):
    stages = [{**stage, "name": f"stage{number}", "epochs": 2} for number, stage in enumerate(stages)]
    fit(tiny_model(), loaders, plan_for(stages, cached_views=2))
    whole = sum(stage["trainable"] == "all" for stage in stages) * (48 + 27) * 2
    assert seen["conv1"] - whole == (48 * 2 + 27) * times


def test_no_more_views_are_made_than_there_are_epochs_to_see_them(loaders, seen):
    fit(
        tiny_model(),
        loaders,
        plan_for([{**HEAD, "epochs": 2}, {**TOP, "epochs": 1}, {**ALL, "epochs": 1}], cached_views=9),
    )
    assert seen["conv1"] == (48 * 3 + 27) + (48 + 27)


def test_a_head_trained_on_shared_views_is_the_one_that_its_own_would_have_given(loaders):
    plan = plan_for([{**HEAD, "epochs": 2}, {**TOP, "epochs": 1}], augment=[])
    alone = fit(tiny_model(), loaders, plan_for([{**HEAD, "epochs": 2}], augment=[]))
    shared = fit(tiny_model(), loaders, plan)
    for one, other in zip(alone.history, shared.history, strict=False):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-4)
        assert one["val_accuracy"] == pytest.approx(other["val_accuracy"], abs=0.02)


@pytest.mark.parametrize("epochs", [1, 3])
def test_training_resumed_before_or_in_a_stage_that_shares_equals_an_unbroken_one(loaders, epochs):
    plan = plan_for([{**HEAD, "epochs": 2}, {**TOP, "epochs": 3}], cached_views=2)
    states = []
    whole = fit(tiny_model(), loaders, plan, on_epoch=lambda record, state: states.append(saved(state)))
    resumed = fit(tiny_model(seed=99), loaders, plan, resume=states[epochs])
    assert [r["train_loss"] for r in resumed.history] == [r["train_loss"] for r in whole.history]
    assert all(torch.equal(resumed.best[name], value) for name, value in whole.best.items())


@pytest.mark.parametrize("stage", [HEAD, TOP])
def test_kept_views_are_augmented_in_full_precision_where_the_training_is_in_16_bits(loaders, stage):
    turned = [{"name": "rotation", "args": {"degrees": 10}}]  # its matrices are inverted, which bfloat16 can't be
    result = fit(tiny_model(), loaders, plan_for([stage], cached_views=2, precision="bf16", augment=turned))
    assert all(np.isfinite(record["train_loss"]) for record in result.history)


@pytest.mark.parametrize("stage", [HEAD, TOP])
def test_training_resumed_among_kept_views_equals_an_unbroken_one(loaders, stage):
    plan = plan_for([{**stage, "epochs": 3}, ALL], cached_views=2)
    states = []
    whole = fit(tiny_model(), loaders, plan, on_epoch=lambda record, state: states.append(saved(state)))
    resumed = fit(tiny_model(seed=99), loaders, plan, resume=states[1])
    assert [r["train_loss"] for r in resumed.history] == [r["train_loss"] for r in whole.history]
    assert all(torch.equal(resumed.best[name], value) for name, value in whole.best.items())


def test_a_disk_without_room_is_said_before_anything_is_trained(loaders, monkeypatch):
    def full(*given):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(kept.os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left on device") as found:
        fit(tiny_model(), loaders, plan_for([TOP], cached_views=4))
    assert f"disk of {kept.tempfile.gettempdir()}" in str(explained(found.value))


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
    monkeypatch.setattr("vision.training.team.FILLED_BYTES", 50)  # four rows of three numbers
    whole = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    held = [np.where(np.arange(10)[:, None] % 2 == rank, whole, 0).astype(np.float32) for rank in range(2)]
    members = [threading.Thread(target=Distributed(rank, 2).fill, args=(held[rank],)) for rank in range(2)]
    for member in members:
        member.start()
    for member in members:
        member.join(20)
    assert all(np.array_equal(one, whole) for one in held)
