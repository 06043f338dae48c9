"""The gate's task: what goes into the verdict besides the checks."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tasks.evaluation.gate import _judged, _stranger
from vision.evaluation.config import EvaluationConfig, GateConfig
from vision.kinds import learning
from vision.package import InputSpec, Spec

LABELS = ("a", "b")
SPEC = Spec(
    schema=1, kind="classify", arch="x", labels=LABELS, input=InputSpec(side_px=16, resize_px=16),
    outputs=("logits", "embedding"), confident_at=0.7,
)  # fmt: skip


@pytest.fixture
def trained():
    """A model that is right on all of its 40 test images."""
    numbers = np.arange(40) % 2
    names = [str(n) for n in range(40)]
    rows = pd.DataFrame({"path": names, "sha256": names, "label": np.array(LABELS)[numbers], "family": names})
    outputs = {"logits": 5.0 * np.eye(2)[numbers], "embedding": np.zeros((40, 32))}
    found = learning("classify").evaluate(outputs, rows, SPEC, EvaluationConfig(bootstrap_samples=100))
    analysis = SimpleNamespace(made={"behaviour": []})
    return SimpleNamespace(found=lambda: found, rows=lambda split: rows, analysis=analysis)


def judged(trained, parity, folder, **gate):
    config = SimpleNamespace(gate=GateConfig(**gate), evaluation=EvaluationConfig())
    package = SimpleNamespace(made={"metrics": dict(trained.found().metrics), "parity": parity})
    return _judged(SimpleNamespace(config=config), trained, package, None, folder)["verdict"]


AGREES = {"passed": True, "reasons": ["4 runtimes and steps agree"]}
DIFFERS = {"passed": False, "reasons": ["OpenVINO, float32: 64 images differ by at most 0.2 (tolerance 0.001)"]}


def test_a_model_within_every_threshold_passes_only_when_its_runtimes_agree(trained, tmp_path):
    assert judged(trained, AGREES, tmp_path, minimum={"accuracy": 0.9})["passed"]
    lost = judged(trained, DIFFERS, tmp_path, minimum={"accuracy": 0.9})
    assert not lost["passed"] and lost["reasons"][0].startswith("parity: OpenVINO, float32: 64 images differ")


def test_lost_parity_hides_no_threshold_that_was_lost_too(trained, tmp_path):
    lost = judged(trained, DIFFERS, tmp_path, maximum={"accuracy": 0.5})
    assert lost["reasons"][0].startswith("parity: ") and any("accuracy" in reason for reason in lost["reasons"][1:])


def test_a_champion_that_knows_none_of_the_classes_is_not_met_and_that_is_said(trained):
    def champion(*labels):
        return SimpleNamespace(version=3, package=SimpleNamespace(spec=SPEC.model_copy(update={"labels": labels})))

    told = _stranger(trained, champion("c", "d"))
    assert told.passed and "not compared with the champion v3" in told.warning
    assert _stranger(trained, champion("b", "c")) is None
