"""The kind `detect` through the same flow: drawn surfaces, an epoch of SSDLite, a package, a bento that answers with boxes."""

import json

import pandas as pd
import pytest
import yaml

from configs.paths import StatePaths
from tests.conftest import TINY
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
    "model": {"arch": "ssdlite_resnet18", "weights": "random", "anchor_scales": [0.1, 0.6], "finest_stride": 8},
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


def test_another_system_starts_from_its_backbone_and_its_images_are_traced_there(shared_state, tiny, tmp_path, capsys):
    """After the test above, whose champion it is."""
    from flows import trace_image
    from flows.command import main
    from flows.train_model import train_model

    own = {
        **TINY,
        **BOXES,
        "system": "other",
        "data": {**BOXES["data"], "source": {**BOXES["data"]["source"], "seed": 4}},
    }
    own["model"] = {**BOXES["model"], "weights": "system", "system": "tiny"}
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(own))
    assert main(train_model, argv=["--system", str(other)]) == 0, capsys.readouterr()
    paths = StatePaths(shared_state)
    (began,), (package,) = (list(paths.packages(name).iterdir()) for name in ("tiny", "other"))
    weights = json.loads((package / "lineage.json").read_text())["weights"]
    assert (weights["origin"], weights["package_sha"], weights["warning"]) == ("system", began.name, "")
    splits = pd.read_parquet(next(paths.stages("tiny").glob("split/*/splits.parquet")))
    learned = splits.loc[splits["split"] == "train", "sha256"].iloc[0]
    capsys.readouterr()
    assert trace_image.main(["--image", learned, "--system", "tiny"]) == 0
    found = yaml.safe_load(capsys.readouterr().out)
    assert [(one["system"], one["package_sha"]) for one in found["trainings"]] == [
        ("tiny", began.name),
        ("other", package.name),
    ]
    # The images of its own training again, in another system: refused before anything trains.
    other.write_text(
        yaml.safe_dump({**own, "data": {**BOXES["data"], "split": {"train": 0.25, "val": 0.25, "test": 0.5}}})
    )
    assert main(train_model, argv=["--system", str(other)]) == 2
    assert "whose champion learned from" in capsys.readouterr().err
