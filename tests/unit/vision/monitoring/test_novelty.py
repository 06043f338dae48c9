import numpy as np
import pytest

from vision.monitoring.novelty import MIN_REFERENCE, excess_novel, measure_novelty


def test_new_images_of_known_classes_are_as_near_as_the_references_own(reference, served):
    shares = [measure_novelty(reference, served(seed)).novel.mean() for seed in range(1, 21)]
    assert np.mean(shares) == pytest.approx(0.05, abs=0.02)


def test_images_of_an_unknown_class_are_novel(reference, served):
    window = served(unseen=0.3)
    novel = measure_novelty(reference, window).novel
    assert novel[window["truth"] == "rust"].mean() > 0.95
    assert novel[window["truth"] != "rust"].mean() < 0.12


def test_a_family_does_not_make_its_own_images_usual(reference, served):
    """With each image four times, a distance to the nearest would be nought if a family were not left out."""
    shots = reference.loc[np.repeat(np.arange(100), 4)].reset_index(drop=True)
    assert measure_novelty(shots, served()).novel.mean() < 0.2


def test_an_embedding_that_never_varies_breaks_nothing(reference, served):
    flat = {f"e{number}": 1.0 for number in range(8)}
    assert not measure_novelty(reference.assign(**flat), served().assign(**flat)).novel.any()


@pytest.mark.parametrize("left_out", ["label", [f"e{number}" for number in range(8)]])
def test_a_reference_that_cannot_tell_measures_nothing(reference, served, left_out):
    assert measure_novelty(reference.drop(columns=left_out), served()) is None


def test_too_small_a_reference_measures_nothing(reference, served):
    assert measure_novelty(reference.iloc[: MIN_REFERENCE - 1], served()) is None


def test_what_chance_makes_novel_is_no_excess():
    assert excess_novel(0.06, 200, 400) == 0
    assert excess_novel(1.0, 200, 400) == pytest.approx(0.98, abs=0.02)
