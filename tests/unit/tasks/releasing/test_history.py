"""Which model was champion when, and why."""

from datetime import UTC, datetime, timedelta

import pytest

from flows import show_history
from flows.command import DONE, MISTAKE
from tasks.audit import write_audit
from tasks.releasing.history import era_at, read_history
from tasks.releasing.table import ReleaseRow, add_release
from vision.release import Release, ReleasedModel

START = datetime(2026, 11, 21, 8, tzinfo=UTC)


def model(version: int) -> ReleasedModel:
    return ReleasedModel(version=version, package_sha=f"{version:x}" * 64, uri=f"packages/{version}")


def release(url: str, no: int, champion: int, step: str, **more) -> None:
    at = START + timedelta(hours=no)
    document = Release(no=no, champion=model(champion), reason=f"because {no}", at=at, **more)
    evidence = {"pairs": 200} if step == "promote" else {}
    add_release(
        url,
        ReleaseRow(system="tiny", no=no, at=at, step=step, who="release_model", document=document, evidence=evidence),
    )


def alias(url: str, version: int, at: datetime) -> None:
    row = {"system": "tiny", "what": "alias:champion", "version": version, "package_sha": f"{version:x}" * 64}
    write_audit(url, {**row, "at": at.isoformat(), "who": "train_model", "why": "first_model"})


@pytest.fixture
def url(tmp_path, monkeypatch):
    monkeypatch.setenv("VISIONOPS_STATE", str(tmp_path))
    return f"sqlite:///{tmp_path / 'state.db'}"


@pytest.fixture
def story(url):
    """Version 1 first, 2 in its shadow and canary, promoted, and gone back from."""
    alias(url, 1, START - timedelta(minutes=1))
    release(url, 0, 1, "found")
    release(url, 1, 1, "canary", challenger=model(2), mode="canary", share=0.1)
    release(url, 2, 2, "promote")
    release(url, 3, 1, "rollback")
    return url


@pytest.mark.parametrize(
    ("hour", "version", "step"), [(0.5, 1, "found"), (1.5, 1, "canary"), (2.5, 2, "promote"), (9, 1, "rollback")]
)
def test_who_was_champion_at_a_time_and_why(story, hour, version, step):
    era = era_at(read_history(story, "tiny"), START + timedelta(hours=hour))
    assert (era.champion, era.step) == (version, step) and era.why.startswith("because")


def test_before_the_first_champion_there_was_none(story):
    assert era_at(read_history(story, "tiny"), START - timedelta(days=1)) is None


def test_without_releases_the_audit_log_tells(url):
    alias(url, 1, START)
    [era] = read_history(url, "tiny")
    assert (era.champion, era.why, era.no) == (1, "first_model", None)


def test_the_command_tells_all_of_it_or_one_time(story, capsys):
    assert show_history.main(["--system", "tiny"]) == DONE
    said = capsys.readouterr().out
    assert "version 2 in canary with 10% of the clients" in said and '"pairs": 200' in said
    assert show_history.main(["--system", "tiny", "--at", "2026-11-21T12:30+02:00"]) == DONE
    said = capsys.readouterr().out
    assert "release 2: champion version 2" in said and "release 3" not in said


def test_a_time_that_is_none_and_a_system_without_history_are_told(story, capsys):
    assert show_history.main(["--system", "tiny", "--at", "yesterday"]) == MISTAKE
    assert show_history.main(["--system", "other"]) == MISTAKE
    said = capsys.readouterr().err
    assert "is no time" in said and "never had a champion" in said
