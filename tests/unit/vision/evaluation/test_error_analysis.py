import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vision.evaluation import classification
from vision.evaluation.config import EvaluationConfig
from vision.evaluation.error_analysis import error_parts
from vision.package import InputSpec, Spec

LABELS = ("blight", "healthy", "septoria")
CONFIG = EvaluationConfig(bootstrap_samples=100)
SPEC = Spec(
    schema=1, kind="classify", arch="x", labels=LABELS, input=InputSpec(side_px=16, resize_px=16),
    outputs=("logits", "embedding"), confident_at=0.7,
)  # fmt: skip


def evaluated(wrong=(), count=90):
    """Images in the order of their brightness; those of `wrong` are answered with the next label."""
    rng = np.random.default_rng(0)
    targets = np.arange(count) % 3
    rows = pd.DataFrame(
        {
            "path": [f"{n}.jpg" for n in range(count)],
            "sha256": [f"{n:064x}" for n in range(count)],
            "label": [LABELS[target] for target in targets],
            "family": [str(n) for n in range(count)],
            "brightness": np.linspace(0, 1, count),
        }
    )
    answers = targets.copy()
    answers[list(wrong)] = (targets[list(wrong)] + 1) % 3
    logits = np.eye(3)[answers] * rng.uniform(2, 4, (count, 1))
    outputs = {"logits": logits, "embedding": rng.normal(size=(count, 32)) + targets[:, None]}
    images = rng.integers(0, 255, (count, 16, 16, 3), dtype=np.uint8)
    return classification.evaluate(outputs, rows, SPEC, CONFIG), outputs, images


def parts_of(folder, wrong=()):
    found, outputs, images = evaluated(wrong)
    parts = (
        *classification.error_parts(found, images, SPEC, folder),
        *error_parts(found, outputs, images, CONFIG, folder),
    )
    return {part.title: part for part in parts}


def test_errors_are_told_by_pair_by_slice_by_threshold_and_by_picture(tmp_path):
    parts = parts_of(tmp_path, wrong=range(12))
    pairs = parts["What is taken for what"]
    assert pairs.tables[0].rows[0][:3] == ("blight", "healthy", "4") and "12 errors in 90" in pairs.text[0]
    assert "brightness ≤" in parts["Slices"].points[0].text
    threshold = parts["What a threshold costs and saves"]
    assert [row[0] for row in threshold.tables[0].rows].count("0.70 *") == 1
    assert threshold.tables[0].rows[0][1:3] == ("100 %", "87 %")
    assert set(parts) >= {"The hardest images", "A map of the answers"}
    for part in parts.values():
        for picture in part.pictures:
            with Image.open(picture.path) as image:
                assert min(image.size) > 100


def test_a_model_without_errors_is_told_so(tmp_path):
    parts = parts_of(tmp_path)
    assert parts["What is taken for what"].text == ("No error in 90 images.",)
    assert "Every answer is right" in parts["What a threshold costs and saves"].text[0]
    assert parts["Slices"].points == ()


@pytest.mark.parametrize("wrong", [range(90), range(0, 90, 3)])
def test_a_model_that_is_always_wrong_or_never_finds_a_class_still_has_its_pages(tmp_path, wrong):
    parts = parts_of(tmp_path, wrong)
    assert len(parts) == 5


def test_a_kind_without_a_loss_or_an_embedding_leaves_those_chapters_out(tmp_path):
    found, _, images = evaluated(range(5))
    bare = type(found)(found.headline, found.metrics, found.per_class, found.rows.drop(columns="loss"))
    titles = [part.title for part in error_parts(bare, {}, images, CONFIG, tmp_path)]
    assert titles == ["Slices", "What a threshold costs and saves"]


def test_no_chapter_names_the_split_since_a_package_is_evaluated_on_any(tmp_path):
    for number, wrong in enumerate(((), range(12))):
        folder = tmp_path / str(number)
        folder.mkdir()
        told = " ".join(part.model_dump_json() for part in parts_of(folder, wrong).values())
        assert "test images" not in told
