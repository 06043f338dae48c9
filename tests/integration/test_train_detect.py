"""The kind `detect` through the same flow: drawn surfaces, an epoch of SSDLite, a package, a bento that answers with boxes."""

import json

import pandas as pd
import pytest

from configs.paths import StatePaths
from vision.export.golden import check_golden
from vision.export.runtime import onnx_run
from vision.package import open_package

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server", "ray")]

EPOCH = [{"name": "all", "epochs": 1, "trainable": "all", "lr": 1.0e-3}]
BOXES = {
    "kind": "detect",
    "data": {
        "source": {"type": "drawn", "what": "surfaces", "images_per_class": 10, "side_px": 96, "seed": 3},
        "split": {"train": 0.5, "val": 0.25, "test": 0.25},
    },
    "input": {"side_px": 64, "resize_px": 64, "crop": "squash"},
    "model": {"arch": "ssdlite320_mobilenet_v3_large", "weights": "random", "anchor_scales": [0.1, 0.6]},
    "training": {
        "batch_size": 8,
        "precision": "float32",
        "stages": EPOCH,
        "stages_from_scratch": EPOCH,
        "augment": [
            {"name": "mosaic", "args": {"p": 0.5}},
            {"name": "random_resized_crop", "args": {"scale": [0.4, 1.0]}},
        ],
    },
    "gate": {"minimum": {"map50": 0.0}},
}


def test_boxes_go_through_every_stage_to_a_bento_that_answers_with_them(shared_state, tiny, capsys):
    from flows.command import main
    from flows.train_model import train_model

    assert main(train_model, argv=["--system", tiny(**BOXES)]) == 0, capsys.readouterr()
    system = StatePaths(shared_state).system("tiny")
    package = open_package(next((system / "packages").iterdir()))
    assert package.spec.kind == "detect" and package.spec.labels == ("dent", "pit", "scratch")
    assert check_golden(package.folder, package.spec, onnx_run(package.folder / "model.onnx")).passed
    metrics = json.loads((package.folder / "metrics.json").read_text())
    assert metrics["map50_low"] <= metrics["map50"] + 1e-9 and {"map50_95", "box_recall", "box_precision"} <= set(
        metrics
    )
    reference = pd.read_parquet(package.folder / "reference.parquet")
    assert {"answer_boxes", "answer_box_area", "boxes"} <= set(reference)
    page = next((system / "reports").glob("*/report.html")).read_text()
    for words in ("What is missed, and what is false", "precision recall", "map50"):
        assert words in page
