"""Of the logs of a service only what can hold a release's rows is opened, and of that only what counts is read."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from configs.releasing import ReleaseConfig
from tests.drawn_answers import Drawn, Nature
from vision import rollout_rows
from vision.records import day_folder, day_number
from vision.records_seal import seal_closed
from vision.release import Release, ReleasedModel
from vision.rollout import DISAGREEMENT, next_step
from vision.rollout_evidence import weigh, weigh_champion
from vision.rollout_rows import Wanted, first_of_release, read_answers, read_rows

NOW = datetime.now(UTC)
FIRST, SECOND = (ReleasedModel(version=no, package_sha=digit * 64, uri=f"p/{no}") for no, digit in ((1, "a"), (2, "b")))


def drawn(folder, no=3):
    return Drawn(folder, Release(no=no, champion=FIRST, challenger=SECOND, mode="shadow", reason="test", at=NOW))


def test_files_of_days_before_the_release_are_not_opened(tmp_path):
    stage = drawn(tmp_path)
    stage.shadow(20, labelled=1.0)
    stage.fail(2)
    before = read_rows(stage.logs, {3}, day_number() - 1)
    for days_ago in (2, 14, 80):
        for folder in (stage.logs.records, stage.logs.failures, stage.logs.feedback):
            old = folder / day_folder(day_number() - days_ago)
            (old / "host-1-1.ndjson").mkdir(parents=True)  # Who opens it fails.
            (old / "host-1-2.parquet").mkdir()
    after = read_rows(stage.logs, {3}, day_number() - 1)
    assert after.answers.equals(before.answers) and (after.failures, after.labels) == (before.failures, before.labels)
    assert (len(after.answers), len(after.failures), len(after.labels)) == (40, 2, 20)
    with pytest.raises(OSError):
        read_rows(stage.logs, {3}, day_number() - 2)


@pytest.mark.parametrize(("key_id", "to"), [("k", "rollback"), ("queue:3", "stay")])
def test_labels_that_the_queue_has_asked_for_are_no_measure_of_a_champions_time(tmp_path, key_id, to):
    """They are of answers that it was unsure of: the one before had none of those labelled."""
    before = Release(no=2, champion=SECOND, challenger=FIRST, mode="canary", reason="test", at=NOW)
    Drawn(tmp_path, before).canary(20, labelled=1.0)
    alone = Release(no=3, champion=FIRST, reason="test", at=NOW)
    stage = Drawn(tmp_path, alone, key_id=key_id)
    stage.alone(150, Nature(wrong=0.6), labelled=1.0)
    rows = read_rows(stage.logs, {2, 3}, day_number() - 1, labelled=True)
    assert next_step(alone, weigh_champion(alone, SECOND, rows, ReleaseConfig()), ReleaseConfig(), NOW).to == to


def lines_of(numbers):
    return [b'{"id":"%036d","release_no":%d,"embedding":[0.5,1]}\n' % (at, no) for at, no in enumerate(numbers)]


@pytest.mark.parametrize("numbers", [[3], [1] * 40 + [3] * 7, [0, 2, 2, 3, 3, 5, 8, 8], [1] * 5, [4] * 5])
def test_reading_begins_where_the_release_does(tmp_path, monkeypatch, numbers):
    monkeypatch.setattr(rollout_rows, "LATE_BYTES", 0)
    made = lines_of(numbers)
    (tmp_path / "log").write_bytes(b"".join(made) + b'{"id":"torn')
    with (tmp_path / "log").open("rb") as stream:
        for wanted in range(10):
            earlier = b"".join(line for line, no in zip(made, numbers, strict=True) if no < wanted)
            assert first_of_release(stream, wanted) in (len(earlier), len(b"".join(made) + b'{"id":"torn'))
            if wanted <= max(numbers):
                assert first_of_release(stream, wanted) == len(earlier)


def test_answers_that_were_under_way_when_the_release_came_are_found_among_those_before(tmp_path):
    folder = tmp_path / "records" / day_folder(day_number())
    folder.mkdir(parents=True)
    drawn(tmp_path / "other", 2).shadow(30)
    drawn(tmp_path / "other", 3).shadow(3)
    [one, other] = [path.read_bytes().splitlines(True) for path in sorted((tmp_path / "other").rglob("dt=*/*.ndjson"))]
    late, early = (one, other) if len(one) == 6 else (other, one)
    (folder / "a-1-1.ndjson").write_bytes(b"".join([*early[:20], *late[:2], *early[20:], *late[2:]]))
    assert len(read_answers(tmp_path / "records", Wanted(frozenset({3})), day_number())) == 6
    assert len(read_answers(tmp_path / "records", Wanted(frozenset({2})), day_number())) == 60


def test_of_a_champion_alone_only_labelled_answers_are_read_and_pairs_stay_whole(tmp_path):
    stage = drawn(tmp_path)
    stage.shadow(60, labelled=0.3)
    whole, some = (read_rows(stage.logs, {3}, day_number() - 1, labelled) for labelled in (False, True))
    assert len(whole.answers) == 120 and len(some.answers) == 2 * len(whole.labels) < 60
    assert seal_closed(stage.logs.records)
    assert read_rows(stage.logs, {3}, day_number() - 1, labelled=True).answers.equals(some.answers)


def test_what_the_service_said_of_two_answers_goes_before_their_labels(tmp_path):
    stage = drawn(tmp_path)
    stage.shadow(40)
    rows = read_rows(stage.logs, {3}, day_number() - 1)
    told = rows.answers.assign(agrees=[False if route == "shadow" else None for route in rows.answers["route"]])

    def disagreement(answers):
        return weigh(stage.release, replace(rows, answers=answers), ReleaseConfig()).measure(DISAGREEMENT).found.value

    assert disagreement(rows.answers) < 0.5 and disagreement(told) == 1.0
    assert disagreement(told.assign(agrees=told["agrees"].map({False: True}))) == 0.0
