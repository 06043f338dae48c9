"""What speaks against a challenger unless labels show that it is the better one: other answers, and less sure ones."""

import pytest

from tests.drawn_answers import Drawn, Nature
from tests.unit.vision.test_rollout import BAD, release, step, weighed


@pytest.fixture
def drawn(tmp_path):
    return lambda mode: Drawn(tmp_path, release(mode))


def test_a_challenger_that_answers_otherwise_waits_for_labels_and_these_decide(drawn, tmp_path):
    stage = drawn("shadow")
    stage.shadow(220, BAD)
    decided = step(stage)
    assert decided.to == "stay" and "labels decide, 0 of 50" in decided.reasons[0]
    stage.shadow(120, Nature(wrong=0.6), champion=Nature(wrong=0.5), labelled=1.0)
    decided = step(stage)
    assert decided.to == "rollback" and "labels don't side with" in " ".join(decided.reasons)


def test_a_better_challenger_is_not_taken_back_because_few_labels_do_not_prove_it_yet(drawn):
    stage = drawn("shadow")
    stage.shadow(220, Nature(wrong=0.25), champion=Nature(wrong=0.5))
    stage.shadow(60, Nature(wrong=0.25), champion=Nature(wrong=0.5), labelled=1.0)
    accuracy = weighed(stage).measure("accuracy_loss").found
    assert accuracy.value < 0 < accuracy.high and accuracy.count >= 50
    decided = step(stage)
    assert decided.to == "stay" and "labels decide, accuracy_loss -" in decided.reasons[0]
    stage.shadow(200, Nature(wrong=0.25), champion=Nature(wrong=0.5), labelled=1.0)
    assert step(stage).to == "canary"


def test_a_disagreement_in_which_labels_side_with_the_challenger_is_no_obstacle(drawn):
    """As after drift: the old champion is wrong on what the new one has learnt."""
    stage = drawn("shadow")
    stage.shadow(210, Nature(wrong=0.05), champion=Nature(wrong=0.6), labelled=0.5)
    evidence = weighed(stage)
    assert evidence.measure("disagreement").against
    assert step(stage).to == "canary"


def test_unsure_answers_are_no_fault_where_labels_show_that_the_old_ones_were_wrong(drawn):
    """As after drift, where the old champion finds nothing any more, and is sure of it."""
    better, blind = Nature(wrong=0.5, unsure=0.6), Nature(wrong=0.75, unsure=0.0)
    stage = drawn("shadow")
    stage.shadow(150, better, champion=blind, labelled=0.1)
    decided = step(stage)
    assert weighed(stage).measure("unsure_rise").against
    assert decided.to == "stay" and any(
        reason.startswith("unsure_rise") and "labels decide" in reason for reason in decided.reasons
    )
    stage.shadow(260, better, champion=blind, labelled=1.0)
    assert step(stage).to == "canary"


def test_unsure_answers_with_labels_that_do_not_side_with_them_are_taken_back(drawn):
    stage = drawn("shadow")
    stage.shadow(150, Nature(wrong=0.3, unsure=0.6), champion=Nature(wrong=0.1), labelled=0.6)
    decided = step(stage)
    assert decided.to == "rollback" and "labels don't side with the challenger" in " ".join(decided.reasons)
