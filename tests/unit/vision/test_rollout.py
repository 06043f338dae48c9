"""The next step of a release, from records, failures and labels as a service writes them."""

from datetime import UTC, datetime, timedelta

import pytest

from configs.releasing import ReleaseConfig
from tests.drawn_answers import Drawn, Nature
from vision.records import day_number
from vision.records_seal import seal_closed
from vision.release import Release, ReleasedModel
from vision.rollout import next_step
from vision.rollout_evidence import beside, weigh, weigh_champion
from vision.rollout_rows import read_rows

CONFIG = ReleaseConfig()
NOW = datetime.now(UTC)
FIRST, SECOND = (ReleasedModel(version=no, package_sha=digit * 64, uri=f"p/{no}") for no, digit in ((1, "a"), (2, "b")))
BAD = Nature(wrong=0.5)


def release(mode, no=3, at=NOW):
    challenger = None if mode == "single" else SECOND
    return Release(no=no, champion=FIRST, challenger=challenger, mode=mode, reason="test", at=at)


@pytest.fixture
def drawn(tmp_path):
    return lambda mode, seed=0, at=NOW: Drawn(tmp_path, release(mode, at=at), seed, at=at)


def weighed(drawn, config=CONFIG):
    rows = read_rows(drawn.logs, {drawn.release.no}, day_number(drawn.at.timestamp()) - 1)
    return weigh(drawn.release, rows, config)


def step(drawn, config=CONFIG, now=NOW):
    return next_step(drawn.release, weighed(drawn, config), config, now)


def test_too_few_pairs_wait(drawn):
    stage = drawn("shadow")
    assert step(stage).to == "stay"
    stage.shadow(40)
    decided = step(stage)
    assert decided.to == "stay" and "40 of 200 pairs" in decided.reasons[0]


def test_a_sound_challenger_goes_from_shadow_to_the_canary_and_from_there_to_champion(drawn):
    stage = drawn("shadow")
    stage.shadow(220, Nature(wrong=0.05), labelled=0.5)
    decided = step(stage)
    assert decided.to == "canary" and any(reason.startswith("failures 0 (0 to") for reason in decided.reasons)


def test_a_sound_canary_is_promoted(drawn):
    stage = drawn("canary")
    stage.canary(210, labelled=0.3)
    assert step(stage).to == "promote"


@pytest.mark.parametrize("mode", ["shadow", "canary"])
@pytest.mark.parametrize(
    ("nature", "failures", "labelled", "why"),
    [
        (Nature(), 12, 0.0, "failures"),
        (Nature(ms=15.0), 0, 0.0, "latency_ratio"),
        (Nature(unsure=0.6), 0, 0.0, "unsure_rise"),
        (BAD, 0, 0.9, "accuracy_loss"),
    ],
    ids=["fails", "slow", "unsure", "less accurate"],
)
def test_a_challenger_that_is_worse_is_taken_back_and_the_reason_has_the_numbers(
    drawn, mode, nature, failures, labelled, why
):
    stage = drawn(mode)
    getattr(stage, mode)(150, nature, labelled=labelled)
    stage.fail(failures, mode)
    decided = step(stage)
    assert decided.to == "rollback" and any(
        reason.startswith(why) and "is over" in reason for reason in decided.reasons
    )


def test_what_the_service_refuses_to_load_is_taken_back_unless_it_answered_since(drawn):
    stage = drawn("shadow")
    stage.fail(1, "load", "golden images differ")
    decided = step(stage)
    assert decided.to == "rollback" and "golden images differ" in decided.reasons[0]
    stage.at += timedelta(seconds=5)
    stage.shadow(10)
    assert step(stage).to == "stay"


def test_answers_of_other_releases_and_packages_do_not_count(drawn):
    stage = drawn("shadow")
    other = Drawn(stage.folder, release("shadow", no=2))
    other.shadow(300, BAD, labelled=1.0)
    stage.shadow(20)
    stranger = ReleasedModel(version=9, package_sha="c" * 64, uri="p/9")
    Drawn(stage.folder, release("shadow").model_copy(update={"challenger": stranger})).shadow(30)
    evidence = weighed(stage)
    assert (evidence.pairs, evidence.answers, evidence.labels) == (20, 20, 0)


def test_sealed_records_say_the_same_as_growing_ones(drawn):
    stage = drawn("shadow")
    stage.shadow(60, labelled=0.5)
    before = weighed(stage)
    assert seal_closed(stage.logs.records)
    assert weighed(stage) == before and before.pairs == 60


def test_a_challenger_that_is_not_proven_in_time_is_taken_back(drawn):
    began = NOW - timedelta(days=20)
    stage = drawn("shadow", at=began)
    stage.shadow(20)
    assert step(stage).to == "stay", "no answers for days: nobody knows"
    stage.at = NOW
    stage.shadow(20)
    decided = step(stage)
    assert decided.to == "rollback" and decided.reasons[0].startswith("not proven in time: 20.0 days")


@pytest.mark.parametrize("days", [-9000, 9000])
def test_a_clock_that_is_wrong_by_years_decides_nothing(drawn, days):
    stage = drawn("shadow")
    stage.shadow(20)
    assert step(stage, now=NOW + timedelta(days=days)).to == "stay"


def test_forward_steps_wait_for_a_person_when_they_are_not_automatic(drawn):
    by_hand = CONFIG.model_copy(update={"automatic": False})
    stage = drawn("canary")
    stage.canary(210)
    decided = step(stage, by_hand)
    assert decided.to == "stay" and "ready for promote" in decided.reasons[0]
    stage.fail(30, "canary")
    assert step(stage, by_hand).to == "rollback"


@pytest.mark.parametrize(("waiting", "to"), [(None, "stay"), (2, "shadow")])
def test_a_champion_alone_takes_the_challenger_that_waits(drawn, waiting, to):
    stage = drawn("single")
    assert next_step(stage.release, weighed_alone(stage), CONFIG, NOW, waiting).to == to


def weighed_alone(stage, numbers=(3,)):
    rows = read_rows(stage.logs, set(numbers), day_number() - 1, labelled=True)
    return weigh_champion(stage.release, SECOND, rows, CONFIG)


def before_promotion(tmp_path, mode="canary", no=2):
    """Version 2 was champion, version 1 its challenger; in release 3 version 1 answers alone."""
    return Drawn(tmp_path, release(mode, no=no).model_copy(update={"champion": SECOND, "challenger": FIRST}))


@pytest.mark.parametrize(("wrong", "to"), [(0.1, "stay"), (0.6, "rollback")])
def test_a_new_champion_is_held_to_the_record_of_the_one_before(tmp_path, wrong, to):
    before_promotion(tmp_path).canary(40, labelled=1.0)
    stage = Drawn(tmp_path, release("single"))
    stage.alone(200, Nature(wrong=wrong), labelled=1.0)
    evidence = weighed_alone(stage, (2, 3))
    assert evidence.labels == 200
    decided = next_step(stage.release, evidence, CONFIG, NOW)
    assert decided.to == to and ("disappoints" in decided.reasons[0]) == (to == "rollback")


def test_a_new_champion_that_meets_harder_images_is_not_taken_back_for_that(tmp_path):
    """Labels of the images that both answered say that it is the better one; then the world moves again."""
    before_promotion(tmp_path, "shadow", no=1).shadow(200, Nature(wrong=0.05), Nature(wrong=0.5), labelled=0.5)
    stage = Drawn(tmp_path, release("single"))
    stage.alone(200, Nature(wrong=0.8), labelled=1.0)
    evidence = weighed_alone(stage, (1, 2, 3))
    assert evidence.measure("accuracy_loss_since").against and evidence.measure("accuracy_loss").shown_within
    decided = next_step(stage.release, evidence, CONFIG, NOW)
    assert decided.to == "stay" and any("the images have changed" in reason for reason in decided.reasons)


def test_labels_that_come_after_a_promotion_still_speak_of_the_images_that_both_answered(tmp_path):
    before_promotion(tmp_path, "shadow", no=1).shadow(200, BAD, Nature(wrong=0.05), labelled=0.6)
    stage = Drawn(tmp_path, release("single"))
    stage.alone(50)
    evidence = weighed_alone(stage, (1, 2, 3))
    assert evidence.labels == 0 and evidence.measure("accuracy_loss").found.count > 80
    decided = next_step(stage.release, evidence, CONFIG, NOW)
    assert decided.to == "rollback" and "accuracy_loss " in decided.reasons[0]


def test_batches_of_one_size_only_are_compared(drawn):
    """A canary's batches are smaller than the champion's, and cost more for an image with the same model."""
    stage = drawn("canary")
    stage.canary(100)
    rows = read_rows(stage.logs, {3}, day_number() - 1)
    small, large = rows.answers["route"] == "canary", rows.answers["route"] == "champion"
    rows.answers.loc[small, "batch_size"], rows.answers.loc[large, "batch_size"] = 1, 16
    latency = weigh(stage.release, rows, CONFIG).measure("latency_ratio")
    assert latency.found.count == 0 and "nothing to compare" in str(latency)


def test_batches_that_took_equally_long_each_count_and_images_of_one_batch_count_once(drawn):
    """A clock has steps: of thousands of batches most share their time with another."""
    stage = drawn("shadow")
    stage.shadow(100)
    rows = read_rows(stage.logs, {3}, day_number() - 1)
    rows.answers["compute_ms"], rows.answers["batch_size"] = 10.0, 1
    assert weigh(stage.release, rows, CONFIG).measure("latency_ratio").found.count == 100
    rows.answers["batch_size"] = 2
    assert weigh(stage.release, rows, CONFIG).measure("latency_ratio").found.count == 50


def test_each_stretch_of_time_has_both_and_each_answer_counts_once():
    second = (["02", "03", "06", "07", "09"], [1, 3, 5, 7, 9])
    first = (["01", "04", "05", "08"], [10, 20, 40, 80])
    assert beside(second, first).tolist() == [[1, 10], [4, 30], [8, 80]]
    assert beside(([], []), first).shape == (0, 2)
