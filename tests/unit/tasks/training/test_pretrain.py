import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from configs.load import load_system
from tasks.training.pretrain import BACKBONE, WHOLE, keep_backbone, pretraining_job, pretraining_system
from tasks.training.start import TrainJob, build_model, load_or_make_start, loaders_of, plan_of
from vision.models.network import save_model

LABELS = ("a", "b")
SIMCLR = {
    "input": {"side_px": 32, "resize_px": 36},
    "model": {"arch": "mobilenet_v3_small", "weights": "simclr"},
    "pretraining": {"epochs": 2, "batch_size": 8, "side_px": 24},
    "training.label_share": 0.25,
}


@pytest.fixture(scope="module")
def config():
    return load_system("quickstart", SIMCLR)


@pytest.fixture(scope="module")
def cache(tmp_path_factory, config):
    """40 training, 8 validation and 8 test images, in families of two."""
    folder = tmp_path_factory.mktemp("cache")
    np.save(folder / "images.npy", np.random.default_rng(0).integers(0, 256, (56, 36, 36, 3), dtype=np.uint8))
    numbers = np.arange(56)
    rows = pd.DataFrame({"label": np.array(LABELS)[numbers // 2 % 2], "family": numbers // 2})
    rows["split"] = ["train"] * 40 + ["val"] * 8 + ["test"] * 8
    rows.to_parquet(folder / "rows.parquet")
    (folder / "input.json").write_text(config.input.model_dump_json())
    return folder


def test_pretraining_sees_every_training_image_and_no_other(config, cache):
    loaders = loaders_of(pretraining_job(pretraining_system(config), LABELS, cache))
    assert loaders.train.indices.tolist() == list(range(40))
    assert len(loaders.val.indices) == 0


def test_training_then_sees_a_share_of_the_labels_and_the_whole_validation_split(config, cache):
    loaders = loaders_of(TrainJob(config=config, labels=LABELS, cache=cache))
    assert len(loaders.train.indices) == len(loaders.train.targets) == 12  # 10 of 40, whole families of each label
    assert np.bincount(loaders.train.targets).tolist() == [6, 6]
    assert len(loaders.val.indices) == 8


def test_backbone_that_is_kept_is_what_training_starts_from(config, cache, tmp_path):
    job = pretraining_job(pretraining_system(config), LABELS, cache)
    pretrained = build_model(job)
    save_model(pretrained, tmp_path / WHOLE)
    keep_backbone(tmp_path)
    keep_backbone(tmp_path)  # as after a kill
    assert [path.name for path in tmp_path.iterdir()] == [BACKBONE]
    training = TrainJob(config=config, labels=LABELS, cache=cache, pretrained=tmp_path / BACKBONE)
    (tmp_path / "stage").mkdir()
    report = load_or_make_start(training, tmp_path / "stage")
    assert (report.origin, report.warning) == ("simclr", "")
    assert plan_of(training, report).stages == config.training.stages
    start, wanted = load_file(tmp_path / "stage" / "start.safetensors"), pretrained.network.backbone.state_dict()
    assert all(torch.equal(start[f"network.backbone.{name}"], value) for name, value in wanted.items())


def test_views_are_as_large_as_asked_and_the_head_as_wide(config, cache):
    job = pretraining_job(pretraining_system(config), LABELS, cache)
    assert (job.config.input.side_px, job.config.training.batch_size) == (24, 8)
    assert build_model(job).network.head[3].out_features == 128
