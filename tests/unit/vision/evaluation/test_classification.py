import math

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vision.errors import UserError
from vision.evaluation import classification
from vision.evaluation.config import EvaluationConfig
from vision.evaluation.galleries import pick_answers
from vision.evaluation.slices import slice_table
from vision.package import InputSpec, Spec

LABELS = ("healthy", "late_blight", "rust")
CONFIG = EvaluationConfig(bootstrap_samples=200)


def spec(**changes):
    found = Spec(
        schema=1, kind="classify", arch="resnet18", labels=LABELS, outputs=("logits", "embedding"),
        input=InputSpec(side_px=16, resize_px=16),
    )  # fmt: skip
    return found.model_copy(update=changes)


def split_rows(count=60):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "path": [f"images/{place}.jpg" for place in range(count)],
            "sha256": [f"{place:064x}" for place in range(count)],
            "label": [LABELS[place % 3] for place in range(count)],
            "family": [f"f{place // 2}" for place in range(count)],
            "brightness": np.linspace(0.1, 0.9, count),
            "sharpness": rng.random(count),
            "width_px": 64.0,
            "height_px": 64.0,
        }
    )


def logits_for(rows, wrong=()):
    targets = pd.Index(LABELS).get_indexer(rows["label"])
    logits = np.random.default_rng(1).normal(0, 0.3, (len(rows), 3)).astype(np.float32)
    targets[list(wrong)] = (targets[list(wrong)] + 1) % 3
    logits[np.arange(len(rows)), targets] += 3
    return {"logits": logits}


def test_evaluation_has_the_promised_metrics_and_a_row_for_each_image():
    rows = split_rows()
    found = classification.evaluate(logits_for(rows, range(6)), rows, spec(), CONFIG)
    promised = {
        "accuracy", "accuracy_low", "accuracy_high", "macro_f1", "macro_f1_low", "macro_f1_high", "precision", "recall",
        "weighted_f1", "balanced_accuracy", "ece", "nll", "brier", "confident_share", "confident_accuracy", "images",
        "families",
    }  # fmt: skip
    assert promised <= set(found.metrics)
    assert found.headline in found.metrics
    assert all(math.isfinite(value) for value in found.metrics.values())
    assert found.metrics["accuracy"] == pytest.approx(0.9)
    assert (found.metrics["images"], found.metrics["families"]) == (60, 30)
    assert found.metrics["accuracy_low"] < 0.9 < found.metrics["accuracy_high"]
    assert found.rows["path"].tolist() == rows["path"].tolist()
    assert found.rows["right"].tolist() == [False] * 6 + [True] * 54
    assert (found.rows["answer"] == found.rows["label"]).tolist() == found.rows["right"].tolist()


def test_temperature_softens_the_confidence_and_leaves_the_answers():
    rows = split_rows()
    sharp, soft = (classification.evaluate(logits_for(rows), rows, spec(temperature=t), CONFIG) for t in (1.0, 4.0))
    assert (soft.rows["confidence"] < sharp.rows["confidence"]).all()
    assert soft.rows["answer"].tolist() == sharp.rows["answer"].tolist()


def test_a_flawless_test_split_is_not_reported_as_certain():
    rows = split_rows()
    found = classification.evaluate(logits_for(rows), rows, spec(), CONFIG).metrics
    assert (found["accuracy"], found["accuracy_high"]) == (1.0, 1.0)
    assert 0.85 < found["accuracy_low"] < 0.95  # Wilson for 30 families
    assert "errors_caught" not in found


def test_confident_accuracy_is_undefined_when_no_answer_is_confident():
    rows = split_rows()
    found = classification.evaluate(logits_for(rows), rows, spec(), CONFIG.model_copy(update={"confident_at": 1.0}))
    assert found.metrics["confident_share"] == 0
    assert math.isnan(found.metrics["confident_accuracy"])


def test_an_empty_split_and_an_unknown_label_are_the_users_to_mend():
    rows = split_rows()
    with pytest.raises(UserError, match="no image to evaluate"):
        classification.evaluate({"logits": np.empty((0, 3))}, rows.head(0), spec(), CONFIG)
    with pytest.raises(UserError, match="mildew"):
        classification.evaluate(logits_for(rows), rows.assign(label="mildew"), spec(), CONFIG)


def test_slices_show_where_the_errors_are_and_skip_what_is_the_same_everywhere():
    rows = split_rows()
    found = classification.evaluate(logits_for(rows, range(6)), rows, spec(), CONFIG)  # the six darkest are wrong
    table = slice_table(found.rows).set_index("slice")
    assert list(table.index) == ["dark", "blurred"]  # every image has the same size
    assert table.loc["dark", "images"] == 12
    assert table.loc["dark", "accuracy"] == found.metrics["accuracy_dark"] == 0.5
    assert table.loc["dark", "rest_accuracy"] == 1.0


@pytest.mark.parametrize("wrong", [range(6), ()])
def test_drawing_leaves_pictures_that_open(tmp_path, wrong):
    rows = split_rows()
    outputs = logits_for(rows, wrong)
    found = classification.evaluate(outputs, rows, spec(), CONFIG)
    images = np.random.default_rng(0).integers(0, 255, (60, 16, 16, 3), dtype=np.uint8)
    paths = classification.draw(found, outputs, images, spec(), tmp_path / "pictures", grid_images=6)
    assert {"confusion_matrix.png", "confusion_matrix_normalised.png", "answers.png"} <= {path.name for path in paths}
    for path in paths:
        with Image.open(path) as picture:
            assert min(picture.size) > 100


def test_the_grid_shows_wrong_answers_most_confident_first_and_leaves_room_for_right_ones():
    rows = pd.DataFrame({"right": [True] * 10 + [False] * 9, "confidence": np.linspace(0.1, 0.9, 19)})
    picks = pick_answers(rows, 8)
    assert picks[:4].tolist() == [18, 17, 16, 15]
    assert rows["right"].iloc[picks[4:]].all()
    assert len(pick_answers(rows, 100)) == 19
    assert len(set(pick_answers(rows.tail(12), 12).tolist())) == 12
