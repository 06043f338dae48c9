import copy

import numpy as np
import pytest
import torch

from tests.tiny_training import (
    ALL,
    CACHE_PX,
    HEAD,
    SIDE_PX,
    TOP,
    coloured_loaders,
    plan_for,
    saved,
    tiny_model,
)  # fmt: skip
from vision.errors import UserError
from vision.package import InputSpec, Spec
from vision.training.loop import fit
from vision.training.predict import predict


@pytest.fixture(scope="module")
def loaders():
    return coloured_loaders()


def test_fit_learns_to_tell_colours_apart(loaders):
    model = tiny_model()
    result = fit(model, loaders, plan_for([{**ALL, "epochs": 8}], schedule="one_cycle"))
    assert result.score > 0.9
    assert result.history[-1]["train_loss"] < result.history[0]["train_loss"]
    assert {
        "epoch",
        "epochs",
        "stage",
        "lr",
        "val_accuracy",
        "val_macro_f1",
        "val_loss",
        "seconds",
        "images_per_s",
    } <= set(result.history[0])


def test_no_step_is_longer_than_the_clipping_norm_lets_it(loaders):
    def moved(clip_norm):
        model = tiny_model()
        before = copy.deepcopy(dict(model.named_parameters()))
        plan = plan_for(
            [{**HEAD, "epochs": 1, "lr": 1.0, "backbone_lr": None, "warmup_epochs": 0}], schedule="constant", clip_norm=clip_norm,
            optimizer={"name": "sgd", "momentum": 0.0, "weight_decay": 0.0},
        )  # fmt: skip
        fit(model, loaders, plan)
        return (
            sum(float((value - before[name]).detach().square().sum()) for name, value in model.named_parameters())
            ** 0.5
        )

    # At a rate of 1 a step is as long as its gradient; an epoch here has some dozen steps at most.
    assert 0 < moved(1e-5) < 20e-5 < moved(None)


@pytest.mark.parametrize("killed_after", [1, 2, 3, 5, 7])
def test_training_resumed_from_its_state_equals_an_unbroken_one(loaders, killed_after):
    plan = plan_for([HEAD, TOP, ALL])
    whole = fit(model := tiny_model(), loaders, plan)
    states = []
    fit(tiny_model(), loaders, plan, on_epoch=lambda record, state: states.append(saved(state)))
    assert len(states) == 7
    again = tiny_model(seed=99)
    resumed = fit(again, loaders, plan, resume=states[killed_after - 1])
    assert resumed.best_epoch == whole.best_epoch
    assert [r["train_loss"] for r in resumed.history] == [r["train_loss"] for r in whole.history]
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_same_seed_trains_the_same_weights_and_leaves_the_callers_random_state_alone(loaders, optimizer):
    plan = plan_for([HEAD], optimizer={"name": optimizer})
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = fit(tiny_model(), loaders, plan)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(7)
    second = fit(tiny_model(), loaders, plan)
    other = fit(tiny_model(), loaders, plan_for([HEAD], optimizer={"name": optimizer}, seed=43))
    assert all(torch.equal(first.best[name], second.best[name]) for name in first.best)
    assert not all(torch.equal(first.best[name], other.best[name]) for name in first.best)


@pytest.mark.parametrize(
    ("part", "moved"),
    [("head", {"head"}), ("top", {"head", "backbone.layer4"}), ("all", {"head", "backbone.layer4", "backbone.conv1"})],
)
def test_only_the_trainable_part_changes_batch_norm_statistics_included(loaders, part, moved):
    model = tiny_model()
    before = copy.deepcopy(model.network.state_dict())
    fit(model, loaders, plan_for([{"name": "s", "epochs": 1, "trainable": part, "lr": 1e-2}]))
    after = model.network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {
        next(part for part in ("head", "backbone.layer4", "backbone.conv1") if name.startswith(part))
        for name in changed
    } == moved
    frozen = {name for name in before if not any(name.startswith(part) for part in moved)}
    assert not frozen & changed


def test_model_ends_at_its_best_epoch_not_its_last(loaders):
    states = []
    model = tiny_model()
    plan = plan_for([{**ALL, "epochs": 4, "lr": 0.3, "warmup_epochs": 0}], clip_norm=None, early_stop_epochs=None)
    result = fit(model, loaders, plan, on_epoch=lambda record, state: states.append(saved(state)))
    scores = [record["val_macro_f1"] for record in result.history]
    assert result.score == max(scores) == scores[result.best_epoch - 1]
    best = states[result.best_epoch - 1]["model"]
    assert all(torch.equal(value, best[name]) for name, value in model.network.state_dict().items())


def test_stage_without_progress_stops_early_and_the_next_one_starts_from_the_best(loaders):
    still = {"name": "still", "epochs": 9, "trainable": "head", "lr": 1e-12}
    result = fit(tiny_model(), loaders, plan_for([still, {**HEAD, "epochs": 1}], early_stop_epochs=2))
    assert [record["stage"] for record in result.history] == ["still"] * 3 + ["head"]
    assert result.history[0]["epochs"] == 10
    assert result.history[-1]["epochs"] == 4
    patient = fit(tiny_model(), loaders, plan_for([{**still, "early_stop_epochs": 4}], early_stop_epochs=2))
    assert len(patient.history) == 5, "a stage may have a patience of its own"


def test_diverged_loss_is_the_users_to_mend(loaders):
    with pytest.raises(UserError, match="lower the stage's lr"):
        fit(tiny_model(), loaders, plan_for([{**ALL, "lr": 1e30, "warmup_epochs": 0}], clip_norm=None))


def test_bf16_trains_and_keeps_float32_weights(loaders):
    result = fit(tiny_model(), loaders, plan_for([{**ALL, "epochs": 6}], precision="bf16"))
    assert result.precision.chosen == "bf16"
    assert result.score > 0.8
    assert all(value.dtype in (torch.float32, torch.int64) for value in result.best.values())


def test_auto_precision_takes_the_faster_of_the_two_it_measured(loaders):
    report = fit(tiny_model(), loaders, plan_for([{**HEAD, "epochs": 1}], precision="auto")).precision
    faster = "bf16" if report.bf16_seconds < report.float32_seconds else "float32"
    assert report.chosen == faster


def test_fp16_without_a_gpu_is_refused(loaders):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UserError, match="fp16"):
        fit(tiny_model(), loaders, plan_for([HEAD], precision="fp16"))


def test_prediction_is_the_served_model_on_centre_crops_in_the_order_asked(loaders):
    model = tiny_model().train()
    images, indices = loaders.train.images, np.array([5, 3, 70, 3])
    spec = Spec(schema=1, kind="classify", arch="resnet18", labels=("a", "b", "c"), outputs=("logits", "embedding"),
                input=InputSpec(side_px=SIDE_PX, resize_px=CACHE_PX))  # fmt: skip
    done = []
    found = predict(model, images, indices, spec, batch_size=3, on_progress=lambda *args: done.append(args))
    assert model.training
    assert done == [(3, 4), (4, 4)]
    with torch.no_grad():
        logits, embedding = model.eval()(torch.from_numpy(images[indices][:, 2:18, 2:18].copy()))
    np.testing.assert_allclose(found["logits"], logits, atol=1e-5)
    np.testing.assert_allclose(found["embedding"], embedding, atol=1e-5)
    assert found["embedding"].shape == (4, 32)
