"""The figures of all folds together."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tasks.evaluation.folds import _together
from vision.data.cache import ImageCache
from vision.evaluation.config import EvaluationConfig
from vision.package import InputSpec, Spec

LABELS = ("a", "b")
RUN = SimpleNamespace(config=SimpleNamespace(kind="classify", evaluation=EvaluationConfig(bootstrap_samples=100)))


@pytest.fixture
def folds(tmp_path, monkeypatch):
    """Makes one fold of six images for each threshold."""
    monkeypatch.setattr(
        ImageCache, "open", lambda folder: SimpleNamespace(rows=ROWS, indices=lambda split: np.arange(6))
    )

    def make(*thresholds):
        found = []
        for number, threshold in enumerate(thresholds):
            folder = tmp_path / str(number)
            folder.mkdir()
            spec = Spec(
                schema=1, kind="classify", arch="resnet18", labels=LABELS, input=InputSpec(side_px=32, resize_px=36),
                outputs=("logits", "embedding"), threshold=threshold,
            )  # fmt: skip
            (folder / "spec.json").write_text(spec.model_dump_json(by_alias=True))
            np.savez(folder / "outputs_test.npz", logits=np.eye(2)[[0, 0, 0, 1, 1, number]] * 4)
            stage = SimpleNamespace(folder=folder)
            found.append(SimpleNamespace(cache=stage, evaluation=stage))
        return found

    return make


ROWS = pd.DataFrame(
    {"path": list("uvwxyz"), "sha256": list("uvwxyz"), "label": ["a"] * 3 + ["b"] * 3, "family": list("uvwxyz"),
     "width_px": 32, "height_px": 32, "luma_mean": 0.5, "sharpness": 1.0, "bytes": 100}
)  # fmt: skip


def test_each_image_counts_with_its_own_folds_answer(folds):
    assert _together(RUN, folds(0.5, 0.5))["accuracy"] == pytest.approx(11 / 12)


def test_folds_with_thresholds_of_their_own_have_the_headline_alone_in_common(folds):
    assert sorted(_together(RUN, folds(0.4, 0.6))) == ["macro_f1", "macro_f1_high", "macro_f1_low"]
