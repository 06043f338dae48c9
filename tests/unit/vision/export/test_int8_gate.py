"""The embedding of an INT8 graph: noise on its numbers is borne, a shift that drift would see is not."""

import numpy as np
import pytest

from vision.export.int8_gate import SHIFT, judge_shift, whitened_shift
from vision.kinds.embeddings import embeddings_agree


@pytest.fixture
def embedding():
    """320 images whose embedding varies little in most of its 32 directions, as a trained network's does."""
    rng = np.random.default_rng(0)
    return (rng.normal(size=(320, 32)) * np.geomspace(6, 0.3, 32) + rng.normal(size=32)).astype(np.float32)


def test_a_few_numbers_of_thousands_may_be_far_off_but_not_the_whole(embedding):
    noise = np.random.default_rng(1).normal(size=embedding.shape) * 0.35
    assert (np.abs(noise) > 0.5 * (1 + np.abs(embedding))).any()  # what refused good graphs
    assert embeddings_agree(embedding + noise, embedding, 0.5)
    assert not embeddings_agree(embedding + 4 * noise, embedding, 0.5)
    assert not embeddings_agree(embedding[::-1], embedding, 0.5)
    assert not embeddings_agree(np.full_like(embedding, np.nan), embedding, 0.5)


def test_float_runtimes_are_held_as_closely_as_ever(embedding):
    assert embeddings_agree(embedding * (1 + 5e-4), embedding, 1e-3)
    assert not embeddings_agree(embedding * 1.01, embedding, 1e-3)


def test_a_shift_is_measured_as_drift_measures_it_in_wide_and_in_narrow_directions(embedding):
    for column in (0, 31):
        moved = embedding.copy()
        moved[:, column] += 0.2 * embedding[:, column].std()
        assert whitened_shift(embedding, moved) == pytest.approx(0.2, rel=0.2)


def test_a_shift_that_drift_would_take_for_drift_is_refused(embedding):
    spread = embedding.std(axis=0)
    assert judge_shift(embedding, embedding + 0.02 * spread)[0]
    passed, why = judge_shift(embedding, embedding + 0.2 * spread)
    assert not passed and f"more than the {SHIFT:g} allowed" in why


def test_few_images_do_not_tell_and_that_is_said(embedding):
    passed, why = judge_shift(embedding[:100], embedding[:100] + 9)
    assert passed and "100 images, 160 are needed" in why
