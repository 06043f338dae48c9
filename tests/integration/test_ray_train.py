"""Training on a real Ray, tiny: what a stage leaves, and what is refused. Killed workers: tests/faults."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from configs.schema import SystemConfig
from tasks.cluster.train import TrainJob, train_on_ray
from vision.errors import UserError
from vision.package import InputSpec

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray")]
LABELS = ("dark", "light")
EPOCHS = 5
INPUT = {"side_px": 32, "resize_px": 36}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """64 training and 16 validation images of 36 px, dark or light."""
    folder = tmp_path_factory.mktemp("cache")
    rng = np.random.default_rng(0)
    labels = np.array(LABELS)[np.arange(80) % 2]
    images = rng.integers(0, 120, (80, 36, 36, 3)) + np.where(labels == "light", 100, 0)[:, None, None, None]
    np.save(folder / "images.npy", images.astype(np.uint8))
    splits = ["train"] * 64 + ["val"] * 16
    rows = pd.DataFrame({"path": [f"{n}.jpg" for n in range(80)], "label": labels, "split": splits})
    rows.to_parquet(folder / "rows.parquet")
    (folder / "input.json").write_text(InputSpec(**INPUT).model_dump_json())
    return folder


def job_for(cache, **training):
    stages = [
        {"name": "head", "epochs": 1, "trainable": "head", "lr": 1e-3},
        {"name": "all", "epochs": EPOCHS - 1, "trainable": "all", "lr": 1e-3},
    ]
    training = {"batch_size": 16, "precision": "float32", "cpus_per_worker": 1, "early_stop_epochs": None, **training}
    config = SystemConfig.model_validate(
        {
            "system": "tiny",
            "title": "Tiny",
            "kind": "classify",
            "data": {"source": {"type": "drawn"}},
            "input": INPUT,
            "model": {"arch": "mobilenet_v3_small", "dropout": 0.1},
            "training": {
                "stages": stages[1:],
                "stages_from_scratch": stages,
                "augment": [{"name": "random_crop"}, {"name": "horizontal_flip"}],
                **training,
            },
        }
    )
    return TrainJob(config=config, labels=LABELS, cache=cache)


@pytest.fixture(scope="module")
def unbroken(ray, cache, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken") / "stage"
    records = []
    report = train_on_ray(job_for(cache), folder, records.append)
    return folder, report, records


def test_stage_leaves_the_best_model_every_epochs_record_and_a_report(unbroken, cache):
    from safetensors.torch import load_file

    folder, report, records = unbroken
    assert sorted(path.name for path in folder.iterdir()) == ["fit.json", "history.json", "model.safetensors"]
    history = json.loads((folder / "history.json").read_text())
    assert [record["epoch"] for record in history] == [1, 2, 3, 4, 5]
    assert [record["stage"] for record in history] == ["head", "all", "all", "all", "all"]
    assert records == history
    assert report.score == history[report.best_epoch - 1]["val_macro_f1"]
    assert (report.headline, report.weights.origin, report.resources.workers) == ("macro_f1", "random", 1)
    assert 0 < report.epoch_seconds < report.seconds
    assert json.loads((folder / "fit.json").read_text())["best_epoch"] == report.best_epoch
    weights = load_file(folder / "model.safetensors")
    assert {"normalise.mean", "projection", "network.head.1.weight"} <= set(weights)
    # A finished stage is not trained again, and needs no Ray to say so.
    assert train_on_ray(job_for(cache), folder) == report


def test_more_workers_than_cores_are_refused_instead_of_waiting_for_ever(cache, tmp_path):
    with pytest.raises(UserError, match="3 workers ask for 6 CPUs"):
        train_on_ray(job_for(cache, workers=3, cpus_per_worker=2), tmp_path)


def test_users_mistake_in_a_worker_comes_back_as_one(cache, tmp_path):
    with pytest.raises(UserError, match="no longer a number"):
        train_on_ray(job_for(cache, clip_norm=None, stages_from_scratch=[
            {"name": "wild", "epochs": 2, "trainable": "all", "lr": 1e30}]), tmp_path)  # fmt: skip


def test_two_workers_learn_from_shared_kept_views_what_one_does(cache, tmp_path):
    """Until layers that are trained see statistics of half a batch each."""
    frozen = [{"name": part, "epochs": 2, "trainable": part, "lr": 1e-3} for part in ("head", "top")]
    losses = []
    for workers in (1, 2):
        job = job_for(cache, workers=workers, stages_from_scratch=frozen, cached_views=2)
        still = job.config.model_copy(update={"model": job.config.model.model_copy(update={"dropout": 0.0})})
        report = train_on_ray(dataclasses.replace(job, config=still), tmp_path / str(workers))
        assert report.resources.workers == workers
        history = json.loads((tmp_path / str(workers) / "history.json").read_text())
        assert [record["stage"] for record in history] == ["head", "head", "top", "top"]
        losses.append([record["train_loss"] for record in history])
    assert losses[1][:2] == pytest.approx(losses[0][:2], rel=1e-3)
    assert np.isfinite(losses[1]).all()
