import numpy as np
import pandas as pd

from tasks.evaluation.analyse import analysed
from vision.evaluation.config import EvaluationConfig
from vision.kinds import learning
from vision.package import InputSpec, Spec

CLASSES = tuple("abcdefghijkl")


def test_a_class_of_twelve_that_is_never_found_is_caught_on_all_its_test_images(tmp_path):
    spec = Spec(
        schema=1, kind="classify", arch="x", labels=CLASSES, input=InputSpec(side_px=16, resize_px=16),
        outputs=("logits", "embedding"), confident_at=0.7,
    )  # fmt: skip
    rng, count = np.random.default_rng(0), 40 * len(CLASSES)
    numbers = np.arange(count) % len(CLASSES)
    rows = pd.DataFrame(
        {
            "path": [f"{n}.png" for n in range(count)],
            "sha256": [f"{n:064x}" for n in range(count)],
            "label": np.array(CLASSES)[numbers],
            "family": [f"{n}" for n in range(count)],
            "brightness": rng.random(count),
            "sharpness": rng.random(count),
        }
    )
    logits = 5.0 * np.eye(len(CLASSES))[np.where(numbers == 3, 0, numbers)]
    outputs = {"logits": logits, "embedding": rng.normal(size=(count, 32))}
    found = learning("classify").evaluate(outputs, rows, spec, EvaluationConfig())
    images = rng.integers(60, 200, (count, 16, 16, 3), dtype=np.uint8)

    def model(batch):
        return {"logits": np.eye(len(CLASSES))[[0] * len(batch)], "embedding": np.zeros((len(batch), 32))}

    _, behaviour = analysed(found, (outputs, images), (model, spec), EvaluationConfig(), tmp_path)
    minima = {one.name: one for one in behaviour if one.group == "minimum"}
    assert [name for name, one in minima.items() if not one.passed] == ["d on clear images"]
    assert len(minima) == len(CLASSES) and "too few" not in minima["d on clear images"].observed
