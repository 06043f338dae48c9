"""The parity gate: whatever differs from the trained network is told, with its figures, and then nothing is released."""

from types import SimpleNamespace

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import numpy_helper

from configs.serving import ServingConfig
from tasks.packaging import parity as task
from tasks.packaging.parity import check_runtimes, parity_table
from vision.export import runtime_openvino
from vision.export.golden import golden_files
from vision.export.parity import all_outputs, input_row, parity_row
from vision.export.runtime import onnx_run, torch_run
from vision.kinds import answering
from vision.preprocess import preprocess

PATHS = [f"{number}.jpg" for number in range(9)]


@pytest.fixture
def stage(made, draw, tmp_path):
    """As much of a run and its trained stages as the gate reads: nine test images on disk and in the cache."""
    labels, spec = made.package.spec.labels, made.package.spec
    for number, path in enumerate(PATHS):
        (tmp_path / path).write_bytes(draw(labels[number % 3], 900 + number))
    crops = np.stack([preprocess((tmp_path / path).read_bytes(), spec.input) for path in PATHS])
    config = SimpleNamespace(kind="classify", input=spec.input, serving=ServingConfig())
    trained = SimpleNamespace(crops=lambda split: crops, rows=lambda split: pd.DataFrame({"path": PATHS}))
    return SimpleNamespace(config=config, dataset_folder=tmp_path), trained


def checked(stage, made, model):
    return check_runtimes(*stage, torch_run(made.model), model, PATHS[4:8])


def broken(model, path, change):
    """The graph with its first weights changed."""
    graph = onnx.load(model)
    weights = max(graph.graph.initializer, key=lambda tensor: np.prod(tensor.dims))
    weights.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(weights)), weights.name))
    onnx.save(graph, path)
    return path


def test_every_runtime_that_may_serve_agrees_with_the_trained_network(stage, made):
    found = checked(stage, made, made.package.folder / "model.onnx")
    named = [row["what"] for row in found["parity_rows"]]
    assert found["parity"]["passed"], found
    assert named[:3] == ["preprocessing (0 to 255)", "ONNX Runtime, float32", "OpenVINO, float32"]
    assert found["parity_rows"][0]["difference"] == 0.0


@pytest.mark.parametrize("change", [lambda w: w * 1.02, lambda w: w + 0.01, lambda w: np.full_like(w, np.nan)])
def test_a_graph_whose_weights_moved_by_a_hundredth_is_caught_by_every_runtime(stage, made, tmp_path, change):
    found = checked(stage, made, broken(made.package.folder / "model.onnx", tmp_path / "broken.onnx", change))
    assert not found["parity"]["passed"]
    assert {row["what"]: row["passed"] for row in found["parity_rows"] if "float32" in row["what"]} == {
        "ONNX Runtime, float32": False,
        "OpenVINO, float32": False,
    }
    assert "ONNX Runtime, float32: 9 images differ by" in found["parity"]["reasons"][0]


def test_another_preprocessing_than_that_of_training_is_caught(stage, made, monkeypatch):
    real, spec = preprocess, made.package.spec.input
    other = spec.model_copy(update={"resize_px": spec.resize_px + 2})
    monkeypatch.setattr("vision.export.parity.preprocess", lambda data, spec, most: real(data, other, most))
    found = checked(stage, made, made.package.folder / "model.onnx")
    assert not found["parity"]["passed"] and "preprocessing" in found["parity"]["reasons"][0]


def test_one_pixel_that_differs_by_one_is_caught(made):
    files = [path.read_bytes() for path in golden_files(made.package.folder)]
    seen = np.load(made.package.folder / "golden" / "inputs.npy")
    assert input_row(files, seen, made.package.spec.input).passed
    seen[0, 3, 3, 1] ^= 1
    row = input_row(files, seen, made.package.spec.input)
    assert not row.passed and row.difference == 1.0


def test_outputs_of_another_shape_have_no_difference_that_is_a_number(made):
    run, kind = onnx_run(made.package.folder / "model.onnx"), answering("classify")
    images = np.load(made.package.folder / "golden" / "inputs.npy")
    wanted = all_outputs(run, images, kind)
    row = parity_row("cut", wanted, lambda batch: {n: v[:, :2] for n, v in run(batch).items()}, images, kind, 1e-3)
    assert not row.passed and row.difference is None


def test_the_page_shows_each_runtime_its_tolerance_and_the_bento(stage, made):
    made_by_stage = checked(stage, made, made.package.folder / "model.onnx")
    int8 = {"passed": False, "drop": 0.031, "reasons": ["the worst class loses 0.031"]}
    table = parity_table(SimpleNamespace(made={**made_by_stage, "int8": int8}), "8 golden images answered")
    assert [row[-1] for row in table.rows][:2] == ["agrees", "agrees"]
    assert table.rows[-2][2:] == ("0.031 of recall", "–", "–", "left out")
    assert table.rows[-1][0] == "the bento, over HTTP"
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_a_system_that_is_served_in_float32_is_held_to_nothing_else(stage, made, monkeypatch):
    def fastest_in_bfloat16(model, precision):
        return onnx_run(model), "bfloat16" if precision == "auto" else precision

    monkeypatch.setattr(runtime_openvino, "openvino_run", fastest_in_bfloat16)
    model = made.package.folder / "model.onnx"
    held = [row["what"] for row in checked(stage, made, model)["parity_rows"]][2:]
    assert held == ["OpenVINO, float32", "OpenVINO, bfloat16"]
    stage[0].config.serving = ServingConfig(precision="float32")
    assert [row["what"] for row in checked(stage, made, model)["parity_rows"]][2:] == ["OpenVINO, float32"]


def test_bfloat16_that_differs_is_left_out_alone_unless_the_system_asks_for_it(stage, made, tmp_path, monkeypatch):
    model = made.package.folder / "model.onnx"
    off = broken(model, tmp_path / "rounded.onnx", lambda weights: weights * 3)

    def rough_in_bfloat16(graph, precision):
        asked_float32 = precision == "float32"
        return onnx_run(graph if asked_float32 else off), "float32" if asked_float32 else "bfloat16"

    monkeypatch.setattr(runtime_openvino, "openvino_run", rough_in_bfloat16)
    found = checked(stage, made, model)
    assert found["parity"]["passed"] and found["bfloat16"] is False
    table = parity_table(SimpleNamespace(made=found), "")
    assert [row[-1] for row in table.rows] == ["agrees", "agrees", "agrees", "left out"]
    stage[0].config.serving = ServingConfig(precision="bfloat16")
    lost = checked(stage, made, model)
    assert not lost["parity"]["passed"] and "bfloat16" in lost["parity"]["reasons"][0]
    assert parity_table(SimpleNamespace(made=lost), "").rows[-1][-1] == "DIFFERS"


def test_without_openvino_the_other_runtimes_are_held_alone(stage, made, monkeypatch):
    monkeypatch.setattr(task, "find_spec", lambda name: None)
    found = checked(stage, made, made.package.folder / "model.onnx")
    assert [row["what"] for row in found["parity_rows"]] == ["preprocessing (0 to 255)", "ONNX Runtime, float32"]
