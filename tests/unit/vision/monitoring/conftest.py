"""Records drawn from a camera, a world and a model that are known exactly, so that every cause can be told from every other."""

import numpy as np
import pandas as pd
import pytest

LABELS = ("aphids", "blight", "clean")
CENTRES = np.random.default_rng(11).normal(0, 3, (4, 8))
"""Of the embedding, [classes, D]; the last class is one that the model does not know."""


def _features(rng, rows):
    return pd.DataFrame(
        {
            "width_px": 160.0, "height_px": 160.0, "aspect": 1.0, "file_bytes": rng.normal(9000, 1200, rows).round(),
            "brightness": rng.normal(0.5, 0.08, rows), "contrast": rng.normal(0.15, 0.02, rows),
            "sharpness": rng.normal(2.7, 0.2, rows), "saturation": rng.normal(0.35, 0.05, rows),
            "warmth": rng.normal(0.1, 0.03, rows), "greenness": rng.normal(0.15, 0.04, rows),
            "entropy": rng.normal(6.8, 0.3, rows), "noise": rng.normal(0.012, 0.003, rows).clip(0.001),
        }
    )  # fmt: skip


def draw(rows, seed, mix=(1, 1, 1), unseen=0.0, sure=12.0):
    """A table with the columns of `reference.parquet` and, for feedback, `id`; `label` is the truth.

    unseen: share of images of a class that the model does not know. sure: 12 is right in 96 of 100, 1 in 75; the model is as
    often right as it is confident.
    """
    rng = np.random.default_rng(seed)
    truth = np.where(rng.random(rows) < unseen, 3, rng.choice(3, rows, p=np.array(mix) / sum(mix)))
    confidence = 0.5 + rng.beta(np.where(truth == 3, 1.0, sure), 1.0) / 2
    right = (rng.random(rows) < confidence) & (truth < 3)
    answer = np.where(right, truth, (truth + rng.integers(1, 3, rows)) % 3)
    embedding = CENTRES[truth] + rng.normal(0, 1, (rows, CENTRES.shape[1]))
    table = _features(rng, rows).assign(
        id=[f"{seed}-{number}" for number in range(rows)],
        label=[(*LABELS, "rust")[number] for number in truth],
        answer_label=[LABELS[number] for number in answer],
        answer_confidence=confidence,
        answer_confident=confidence >= 0.7,
    )
    return pd.concat([table, pd.DataFrame(embedding.astype(np.float32)).add_prefix("e")], axis=1)


@pytest.fixture(scope="session")
def draw_records():
    return draw


@pytest.fixture(scope="session")
def reference():
    return draw(400, 0).drop(columns="id").assign(family=[f"f{number}" for number in range(400)], split="test")


@pytest.fixture
def served(draw_records):
    """`served(...)`: a window of 200 records, without the truth."""
    return lambda seed=1, **more: draw_records(200, seed, **more).rename(columns={"label": "truth"})
