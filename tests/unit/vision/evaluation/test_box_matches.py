import numpy as np
import pytest

from vision.evaluation import box_matches
from vision.evaluation.coco import coco_precisions
from vision.kinds.detect_boxes import Found


def scene(images, seed, classes=3):
    """Random true boxes, and found ones that are some of them moved a little, some of another class, some of nothing."""
    rng, found, targets = np.random.default_rng(seed), [], []
    for _ in range(images):
        low = rng.uniform(0, 0.7, (rng.integers(0, 6), 2))
        boxes = np.concatenate((low, low + rng.uniform(0.08, 0.3, low.shape)), axis=1)
        labels = rng.integers(0, classes, len(boxes))
        apart = np.array([0, 0, 0.4, 0.4])
        guesses = [boxes + rng.normal(0, 0.02, boxes.shape), apart + rng.uniform(0, 0.3, (3, 4))]
        sure = rng.uniform(0.05, 1, len(boxes) + 3)
        said = np.concatenate((np.where(rng.random(len(labels)) < 0.15, (labels + 1) % classes, labels), [0, 1, 2]))
        order = np.argsort(-sure)
        found.append(Found(np.concatenate(guesses)[order].clip(0, 1), sure[order], said[order].astype(int)))
        targets.append({"boxes": boxes, "labels": labels})
    return found, targets


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_average_precision_is_that_of_cocos_evaluator(seed):
    found, targets = scene(30, seed)
    mine = box_matches.average_precisions(box_matches.match_all(found, targets, 3))
    theirs, _ = coco_precisions(found, targets, [(640, 480)] * 30, 3)
    assert mine == pytest.approx(theirs, abs=2e-3)


def test_without_a_found_box_the_precision_is_zero_and_without_a_true_one_there_is_none():
    nothing = Found(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))
    targets = [{"boxes": np.array([[0.1, 0.1, 0.5, 0.5]]), "labels": np.array([0])}]
    matches = box_matches.match_all([nothing], targets, 2)
    mine, theirs = box_matches.average_precisions(matches), coco_precisions([nothing], targets, [(100, 100)], 2)[0]
    for found in (mine, theirs):
        assert found[0] == 0 and np.isnan(found[1])


def test_the_surest_box_takes_the_true_one_and_a_second_on_it_is_false():
    box = np.array([[0.1, 0.1, 0.5, 0.5]])
    found = Found(np.repeat(box, 2, axis=0), np.array([0.9, 0.8]), np.zeros(2, int))
    assert box_matches.match(found, box, np.array([0])).tolist() == [0, box_matches.NOBODY]
    assert box_matches.match(found, box, np.array([1])).tolist() == [box_matches.NOBODY] * 2


def test_a_resampled_set_of_images_scores_as_if_it_were_matched_anew():
    found, targets = scene(12, seed=5)
    matches = box_matches.match_all(found, targets, 3)
    draw = np.random.default_rng(0).integers(12, size=12)
    weights = np.bincount(draw, minlength=12)[None].astype(float)
    anew = box_matches.match_all([found[n] for n in draw], [targets[n] for n in draw], 3)
    assert box_matches.weighted_precisions(matches, weights)[0] == pytest.approx(
        box_matches.average_precisions(anew), nan_ok=True, abs=1e-9
    )


def test_the_interval_holds_the_score_and_is_wider_when_images_come_in_families():
    found, targets = scene(60, seed=3)
    matches = box_matches.match_all(found, targets, 3)
    score = np.nanmean(box_matches.average_precisions(matches))
    single = box_matches.map_samples(matches, np.arange(60), 300)
    families = box_matches.map_samples(matches, np.arange(60) // 10, 300)
    assert np.quantile(single, 0.025) < score < np.quantile(single, 0.975)
    assert families.std() != single.std() and len(families) == 300


def test_the_threshold_keeps_what_is_right_and_leaves_out_what_is_not():
    box = np.array([[0.1, 0.1, 0.4, 0.4], [0.6, 0.6, 0.9, 0.9], [0.1, 0.6, 0.3, 0.9]])
    found = Found(box, np.array([0.9, 0.7, 0.3]), np.zeros(3, int))
    matches = box_matches.match_all([found], [{"boxes": box[:2], "labels": np.zeros(2, int)}], 1)
    assert box_matches.best_f1_threshold(matches) == pytest.approx(0.5)
    assert len(matches.above(0.5).scores) == 2
