"""A detector that was trained for some seconds, as a graph: in both runtimes, in bfloat16, in INT8, and played again."""

import numpy as np
import pandas as pd
import pytest
import torch

from tests.tiny_detection import LABELS, SIDE_PX, drawn_boxes, tiny_model, trained_model
from vision.evaluation.config import EvaluationConfig
from vision.export.config import ExportConfig
from vision.export.golden import TOLERANCES
from vision.export.int8 import quantise
from vision.export.int8_gate import HeldBack, judge_int8
from vision.export.onnx import export_onnx
from vision.export.parity import check_parity
from vision.export.runtime import onnx_run, torch_run
from vision.export.runtime_openvino import openvino_run
from vision.kinds import answering, learning
from vision.package import InputSpec, Spec

pytestmark = pytest.mark.slow
KIND = answering("detect")
INPUT = InputSpec(side_px=SIDE_PX, resize_px=SIDE_PX, crop="squash")
SPEC = Spec(kind="detect", arch="a", labels=LABELS, input=INPUT, outputs=KIND.outputs, threshold=0.4)


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    path = tmp_path_factory.mktemp("detect") / "model.onnx"
    export_onnx(trained_model(), SIDE_PX, KIND.outputs, path)
    return path


@pytest.fixture(scope="module")
def images():
    return drawn_boxes(40, seed=9)[0]


def rows(targets):
    sides = [
        [
            {
                "label": LABELS[label],
                **dict(zip(("x1", "y1", "x2", "y2"), (SIDE_PX * side for side in box), strict=True)),
            }
            for box, label in zip(target["boxes"].tolist(), target["labels"].tolist(), strict=True)
        ]
        for target in targets
    ]
    names = [str(number) for number in range(len(sides))]
    labels = [boxes[0]["label"] if boxes else "normal" for boxes in sides]
    return pd.DataFrame({"path": names, "sha256": names, "family": names, "label": labels, "boxes": sides,
                         "width_px": SIDE_PX, "height_px": SIDE_PX})  # fmt: skip


def test_a_few_seconds_of_training_find_the_rectangles(images):
    _, targets = drawn_boxes(40, seed=9)
    score = learning("detect").score(torch_run(trained_model())(images), targets, LABELS)
    assert score["map50"] > 0.8


def test_every_runtime_draws_the_boxes_that_the_network_draws(graph, images):
    reference = torch_run(trained_model())
    runs = [(onnx_run(graph), "float32"), openvino_run(graph, "float32"), openvino_run(graph, "auto")]
    for run, precision in runs:
        verdict = check_parity(reference, run, images, KIND, TOLERANCES[precision])
        assert verdict.passed and not verdict.warnings, (precision, verdict)


def test_another_network_does_not_pass_for_it(graph, images):
    other = tiny_model(seed=8).eval()
    assert not check_parity(torch_run(other), onnx_run(graph), images, KIND, TOLERANCES["bfloat16"]).passed


def test_int8_takes_the_convolutions_alone_and_is_held_to_the_recall_of_every_class(graph, images, tmp_path):
    _, targets = drawn_boxes(40, seed=9)
    small = tmp_path / "model.int8.onnx"
    quantise(graph, drawn_boxes(32, seed=3)[0], small, KIND.quantised)
    held = HeldBack([images], rows(targets))
    judged = judge_int8(onnx_run(graph), onnx_run(small), held, SPEC, ExportConfig())
    assert judged["drop"] < 0.1 and judged["reasons"]
    evaluation = learning("detect").evaluate(
        onnx_run(small)(images), held.rows, SPEC, EvaluationConfig(bootstrap_samples=100)
    )
    assert evaluation.metrics["map50"] > 0.75


def test_the_torch_engine_computes_it_in_bfloat16(images):
    from bentos.engines.torch import FastModel

    model = tiny_model()
    model.load_state_dict(trained_model().state_dict())
    fast = FastModel(model.eval(), torch.bfloat16)
    with torch.inference_mode():
        got = dict(zip(KIND.outputs, (value.float().numpy() for value in fast(torch.from_numpy(images))), strict=True))
    agreed, gap = KIND.agree(got, torch_run(trained_model())(images), TOLERANCES["bfloat16"])
    assert agreed, gap


def test_an_answer_given_by_another_runtime_is_the_same_answer(graph, images):
    """As a replay compares what is on record with what ONNX Runtime says now."""
    sizes = [(320, 200)] * len(images)
    fast, precision = openvino_run(graph, "auto")
    then, now = (KIND.answers(run(images), SPEC, sizes, top_k=1) for run in (fast, onnx_run(graph)))
    differing = [KIND.compare(one, other, TOLERANCES[precision])[1] for one, other in zip(then, now, strict=True)]
    assert not any(differing), [reasons for reasons in differing if reasons]
    assert np.mean([len(answer["boxes"]) for answer in now]) > 0.5
