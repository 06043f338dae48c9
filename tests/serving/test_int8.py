"""The INT8 graph of a package: made from calibration images, held to the float one, served by both CPU engines."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bentos.engine import make_engine
from configs.serving import ServingConfig
from vision.export.assemble import assemble_package
from vision.export.config import ExportConfig
from vision.export.golden import TOLERANCES, check_golden
from vision.export.int8 import quantise
from vision.export.int8_gate import HeldBack, judge_int8
from vision.export.parity import check_parity
from vision.export.runtime import onnx_run
from vision.kinds import answering
from vision.package import INT8_MODEL, Int8, open_package
from vision.preprocess import preprocess

IMAGES = 40


@pytest.fixture(scope="module")
def images(made, draw):
    labels = made.package.spec.labels
    return np.stack([preprocess(draw(labels[i % 3], 500 + i), made.package.spec.input) for i in range(IMAGES)])


@pytest.fixture(scope="module")
def graph(made, images, tmp_path_factory):
    place = tmp_path_factory.mktemp("int8") / INT8_MODEL
    quantise(made.package.folder / "model.onnx", images, place, answering("classify").quantised)
    return place


def test_the_quantised_graph_is_smaller_and_agrees_with_the_float_one(made, images, graph):
    kind, run = answering("classify"), onnx_run(made.package.folder / "model.onnx")
    assert check_parity(run, onnx_run(graph), images, kind, TOLERANCES["int8"]).passed
    assert not check_parity(run, onnx_run(graph), images, kind, 1e-6).passed  # it really computes in eight bits


def test_ranges_from_black_images_spoil_it_and_parity_sees_that(made, images, tmp_path):
    spoilt = tmp_path / "spoilt.onnx"
    quantise(made.package.folder / "model.onnx", np.zeros_like(images[:16]), spoilt, answering("classify").quantised)
    run = onnx_run(made.package.folder / "model.onnx")
    assert not check_parity(run, onnx_run(spoilt), images, answering("classify"), TOLERANCES["int8"]).passed


def test_equal_images_make_equal_bytes_and_nothing_is_left_beside(made, images, graph, tmp_path):
    again = tmp_path / INT8_MODEL
    quantise(made.package.folder / "model.onnx", images, again, answering("classify").quantised)
    assert again.read_bytes() == graph.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == [INT8_MODEL]


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_both_cpu_engines_answer_the_golden_images_with_it(made, graph, tmp_path, name):
    spec = made.parts.spec.model_copy(update={"int8": Int8(passed=True, drop=0.0)})
    parts = replace(made.parts, spec=spec, files={**made.parts.files, INT8_MODEL: graph})
    package = open_package(tmp_path / assemble_package(tmp_path, parts))
    engine = make_engine(package, ServingConfig(engine=name, precision="int8"))
    assert engine.precision == "int8"
    assert check_golden(package.folder, package.spec, engine.predict, TOLERANCES["int8"]).passed


@pytest.mark.parametrize(("spoilt", "passed", "drop"), [(0, True, 0.0), (1, True, 0.1), (2, False, 0.2)])
def test_the_gate_looks_at_every_class_of_all_held_back_images(made, spoilt, passed, drop):
    """Two parts of 15 images; of each class ten, of which INT8 gets `spoilt` of the first class wrong."""
    labels = made.package.spec.labels
    images = np.arange(30, dtype=np.uint8).repeat(3 * 4 * 4).reshape(30, 4, 4, 3)

    def run(batch: np.ndarray, wrong: int = 0) -> dict[str, np.ndarray]:
        numbers = batch[:, 0, 0, 0].astype(int)
        logits = np.eye(len(labels), dtype=np.float32)[numbers % 3] * 9
        logits[(numbers < 3 * wrong) & (numbers % 3 == 0)] = np.eye(len(labels), dtype=np.float32)[1] * 9
        return {"logits": logits, "embedding": logits}

    names = [str(number) for number in range(30)]
    rows = pd.DataFrame(
        {"path": names, "sha256": names, "label": [labels[number % 3] for number in range(30)], "family": names}
    )
    held = HeldBack([images[:15], images[15:]], rows)
    judged = judge_int8(run, lambda batch: run(batch, spoilt), held, made.package.spec, ExportConfig())
    assert (judged["passed"], judged["drop"]) == (passed, pytest.approx(drop))
