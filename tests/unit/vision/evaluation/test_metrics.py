import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sk

from vision.errors import UserError
from vision.evaluation import metrics
from vision.evaluation.resampling import (
    bootstrap,
    effective_count,
    family_confusions,
    holm,
    randomisation_p,
    sign_test_p,
    span,
    wilson,
)

pytestmark = pytest.mark.filterwarnings("ignore")


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(1, 60))
def test_scores_are_those_of_scikit_learn(seed, classes, images):
    rng = np.random.default_rng(seed)
    targets, answers = rng.integers(classes, size=(2, images))
    found = metrics.scores(metrics.confusion_matrix(targets, answers, classes))
    precision, recall, f1, _ = sk.precision_recall_fscore_support(targets, answers, average="macro", zero_division=0)
    wanted = {
        "accuracy": sk.accuracy_score(targets, answers),
        "macro_f1": f1,
        "precision": precision,
        "recall": recall,
        "weighted_f1": sk.f1_score(targets, answers, average="weighted", zero_division=0),
        "balanced_accuracy": sk.balanced_accuracy_score(targets, answers),
    }
    assert {name: float(value) for name, value in found.items()} == pytest.approx(wanted)


@settings(max_examples=25, deadline=None)
@given(arrays(int, (4, 4), elements=st.integers(0, 30)))
def test_rows_of_the_normalised_matrix_sum_to_one_or_are_undefined(confusion):
    sums = metrics.row_normalised(confusion).sum(axis=1)
    assert np.all(np.isclose(sums, 1) | (np.isnan(sums) & (confusion.sum(axis=1) == 0)))


def test_a_class_without_images_has_no_recall_and_one_never_answered_no_precision():
    table = metrics.per_class_table(
        np.array([0, 0, 1]), np.array([0, 0, 0]), np.array(["x", "y", "z"]), ["a", "b", "c"], 0.95
    ).set_index("label")
    assert table.loc["a", "recall"] == 1.0
    assert table.loc["b", "recall"] == 0.0
    assert np.isnan(table.loc["b", "precision"])
    assert np.isnan(table.loc["c", ["recall", "recall_low", "f1"]].astype(float)).all()


def test_a_label_that_the_model_does_not_know_is_named():
    with pytest.raises(UserError, match=r"1 images carry labels.*mildew"):
        metrics.class_numbers(pd.Series(["rust", "mildew"]), ["rust", "spot"])


def test_confused_pairs_come_most_frequent_first_and_without_the_diagonal():
    pairs = metrics.confused_pairs(np.array([[5, 1, 4], [0, 9, 0], [2, 0, 1]]), ["a", "b", "c"])
    assert pairs[["label", "answer", "images"]].to_numpy().tolist() == [["a", "c", 4], ["c", "a", 2], ["a", "b", 1]]
    assert pairs["share"].iloc[1] == pytest.approx(2 / 3)


def test_a_thousand_bootstrap_samples_of_five_thousand_images_take_under_a_second_of_cpu():
    rng = np.random.default_rng(0)
    targets, answers = rng.integers(12, size=(2, 5000))
    counts = family_confusions(targets, answers, np.arange(5000) // 2, 12)
    start = time.process_time()
    table = bootstrap(counts, 12, metrics.scores, 1000)
    assert len(table) == 1000
    assert time.process_time() - start < 1.0


def test_bootstrap_interval_covers_the_true_accuracy_about_as_often_as_it_says():
    rng, covered, truth = np.random.default_rng(1), 0, 0.8
    for repeat in range(120):
        families = np.repeat(np.arange(80), 3)
        right = np.repeat(rng.random(80) < truth, 3)  # images of a family share their fate
        targets = rng.integers(2, size=80).repeat(3)
        counts = family_confusions(targets, np.where(right, targets, 1 - targets), families, 2)
        low, high = span(bootstrap(counts, 2, metrics.scores, 400, seed=repeat)["accuracy"], 0.95)
        covered += low <= truth <= high
    assert 0.88 <= covered / 120 <= 1.0


def test_images_of_one_family_widen_the_interval():
    rng = np.random.default_rng(2)
    right = np.repeat(rng.random(50) < 0.8, 4)
    widths = []
    for families in (np.arange(200), np.repeat(np.arange(50), 4)):
        counts = family_confusions(np.zeros(200, int), np.where(right, 0, 1), families, 2)
        low, high = span(bootstrap(counts, 2, metrics.scores, 1000)["accuracy"], 0.95)
        widths.append(high - low)
    assert widths[1] > 1.6 * widths[0]


def test_the_same_seed_draws_the_same_samples():
    counts = family_confusions(np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0]), np.arange(4), 2)
    first, second = (bootstrap(counts, 2, metrics.scores, 200) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)


def test_wilson_interval_is_the_published_one_and_holds_at_the_ends():
    assert wilson(0.81, 263, 0.95) == pytest.approx((0.7583, 0.8527), abs=2e-3)  # Newcombe 1998
    assert wilson(1.0, 20, 0.95) == pytest.approx((0.8389, 1.0), abs=1e-3)
    assert np.isnan(wilson(0.5, 0, 0.95)).all()


def test_effective_count_lies_between_one_family_and_all_images():
    assert effective_count(np.array(["a"] * 9)) == 1
    assert effective_count(np.arange(9)) == 9


def test_sign_test_is_mcnemars_exact_test_for_single_images_and_counts_a_family_once():
    worse = np.array([1] * 8 + [0] * 12, bool)
    better = np.array([0] * 8 + [1] * 2 + [0] * 10, bool)
    assert sign_test_p(worse, better, np.arange(20)) == pytest.approx(56 / 1024)
    assert sign_test_p(worse, np.zeros(20, bool), np.array([0] * 8 + list(range(1, 13)))) == 0.5
    assert sign_test_p(np.zeros(20, bool), np.zeros(20, bool), np.arange(20)) == 1.0


def test_randomisation_of_the_accuracy_agrees_with_mcnemars_exact_test():
    targets = np.zeros(40, int)
    champion, candidate = targets.copy(), targets.copy()
    candidate[:9], champion[9:12] = 1, 1
    tables = [family_confusions(targets, answers, np.arange(40), 2) for answers in (champion, candidate)]
    p = randomisation_p(*tables, 2, lambda c: metrics.scores(c)["accuracy"], 8000)
    exact = sign_test_p(candidate == 1, champion == 1, np.arange(40))
    assert p == pytest.approx(exact, abs=0.012)


def test_holm_raises_p_values_in_steps_and_never_above_one():
    assert holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])
    assert holm(np.array([0.9, 0.8])) == pytest.approx([1.0, 1.0])
