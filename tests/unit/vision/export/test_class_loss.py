"""What INT8 costs each class: what counts as a loss, what as chance, and what is told of it."""

import numpy as np
import pandas as pd
import pytest

from vision.export.class_loss import TOTAL, Loss, images_to_prove, judge_losses, losses

LIMIT = 0.01


def rows(right, families=None):
    """Three classes of as many images each; right: a class -> its images that are."""
    table = [(f"{label}{n}", label, n in good) for label, (images, good) in right.items() for n in range(images)]
    made = pd.DataFrame(table, columns=["path", "label", "right"])
    return made.assign(family=made["path"] if families is None else families)


def without(images, *lost):
    return images, set(range(images)) - set(lost)


def judged(images, lost):
    """The worst of three classes loses `lost` of its images."""
    before = rows({label: without(images) for label in "abc"})
    after = rows({label: without(images, *range(lost if label == "b" else 0)) for label in "abc"})
    return judge_losses(losses(before, after), LIMIT)


@pytest.mark.parametrize(("images", "most"), [(30, 2), (90, 4), (300, 7)])
def test_a_class_is_refused_only_for_more_than_chance_makes_of_one_point(images, most):
    assert judged(images, most).passed and not judged(images, most + 1).passed
    assert "class, b loses" in judged(images, most).reason
    assert judged(images, most + 1).reason.startswith("b loses") and judged(images, most + 1).drop > LIMIT


def test_of_several_classes_that_lose_too_much_the_worst_is_named():
    before = rows({label: without(90) for label in "abc"})
    after = rows({label: without(90, *range(lost)) for label, lost in zip("abc", (10, 30, 0), strict=True)})
    found = judge_losses(losses(before, after), LIMIT)
    assert found.reason.startswith("b loses 0.333") and found.drop == pytest.approx(1 / 3)


def test_one_lost_image_of_ninety_is_no_loss_but_no_proof_either_and_both_are_told():
    found = judged(90, 1)
    assert found.passed and found.drop == pytest.approx(1 / 90)
    assert "not proven: up to 0.05" in found.reason and "299 images of each class" in found.reason
    assert "is proven" in judged(299, 0).reason and "not proven" in judged(298, 0).reason


def test_a_graph_that_loses_exactly_the_limit_is_refused_in_at_most_one_of_twenty():
    rng = np.random.default_rng(0)
    refused = []
    for _ in range(500):
        drawn = [Loss(label, 120, int(rng.binomial(120, LIMIT)), 0, 120) for label in "abcd"]
        total = Loss(TOTAL, 480, sum(one.lost for one in drawn), 0, 480)
        refused.append(not judge_losses([*drawn, total], LIMIT).passed)
    assert np.mean(refused) <= 0.05


@pytest.mark.parametrize("gain", [0.02, 0.1])
def test_answers_that_change_both_ways_are_no_loss_either(gain):
    rng = np.random.default_rng(1)
    refused = []
    for _ in range(1000):
        drawn = rng.multinomial(300, [gain + LIMIT, gain, 1 - 2 * gain - LIMIT], size=4)
        found = [Loss("a", 300, int(lost), int(gained), 300) for lost, gained, _ in drawn]
        lost, gained, _ = drawn.sum(axis=0)
        refused.append(not judge_losses([*found, Loss(TOTAL, 1200, int(lost), int(gained), 1200)], LIMIT).passed)
    assert np.mean(refused) <= 0.07  # 0.16 and 0.22 where what is gained is taken for certain


def test_what_is_gained_proves_nothing_and_hides_no_great_loss():
    gained = Loss("a", 300, 3, 12, 300)
    assert "not proven: up to 0.026" in judge_losses([gained, gained], LIMIT).reason
    assert not judge_losses([Loss("a", 300, 30, 3, 300)] * 2, LIMIT).passed


def test_a_limit_of_nothing_is_proven_by_no_number_of_images():
    found = judge_losses([Loss("a", 90, 0, 0, 90)] * 2, 0)
    assert found.passed and "more than any number of images" in found.reason


def test_a_little_from_every_class_adds_up():
    before = rows({label: without(90) for label in "abcdefgh"})
    after = rows({label: without(90, 0, 1, 2) for label in "abcdefgh"})
    found = judge_losses(losses(before, after), LIMIT)
    assert not found.passed and found.reason.startswith(TOTAL)


def test_what_it_gains_counts_against_what_it_loses():
    before, after = rows({"a": without(90, *range(6))}), rows({"a": without(90, *range(6, 12))})
    loss, _ = losses(before, after)
    assert (loss.lost, loss.gained, loss.share) == (6, 6, 0.0)
    assert judge_losses(losses(before, after), LIMIT).passed


def test_shots_of_one_leaf_are_nearly_one_image():
    before, after = rows({"a": without(90)}), rows({"a": without(90, *range(5))})
    assert not judge_losses(losses(before, after), LIMIT).passed
    families = np.arange(90) // 5  # the five that are lost are of one leaf
    one, _ = losses(before.assign(family=families), after)
    assert one.count == 18 and judge_losses(losses(before.assign(family=families), after), LIMIT).passed


def test_how_many_images_prove_a_limit():
    assert images_to_prove(LIMIT) == 299 and images_to_prove(0.05) == 59
