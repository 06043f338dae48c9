"""A registry that fails in the middle of a change of the release, at every call that the change makes of it."""

from contextlib import contextmanager

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

import flows.rollback_release as rollback_release
import tasks.releasing.back
import tasks.releasing.change
from flows.command import AGAINST, DONE
from tasks.releasing.back import roll_back
from tasks.releasing.step import current_release
from tasks.releasing.table import read_releases
from tests.release_stage import take
from vision.rollout import Step

CALLS = (
    "get_model_version_by_alias", "get_model_version", "set_registered_model_alias", "delete_registered_model_alias",
)  # fmt: skip
PROMOTE = Step(to="promote", reasons=("proven",))
pytestmark = pytest.mark.slow


class Gone:
    """The registry from call `last` on, counted from when the rows are written; `done`: that call still did its work."""

    def __init__(self, last: int, done: bool) -> None:
        self.last, self.done, self.seen, self.written = last, done, 0, False

    def around(self, real):
        def call(*words, **more):
            if not self.written:
                return real(*words, **more)
            self.seen += 1
            if self.seen == self.last and self.done:
                real(*words, **more)
            if self.seen >= self.last:
                raise MlflowException("the registry went away")
            return real(*words, **more)

        return call

    def after_rows(self, real):
        def write(*words):
            real(*words)
            self.written = True

        return write


@contextmanager
def registry_gone(monkeypatch, last: int, done: bool = False):
    gone = Gone(last, done)
    with monkeypatch.context() as patch:
        for name in CALLS:
            patch.setattr(MlflowClient, name, gone.around(getattr(MlflowClient, name)))
        patch.setattr(tasks.releasing.change, "add_release", gone.after_rows(tasks.releasing.change.add_release))
        yield gone


def again(stage):
    """The canary of version 2 once more, by what a person does: the alias, then the steps."""
    stage.tracker().client.set_registered_model_alias("tiny", "challenger", "2")
    for to in ("shadow", "canary"):
        take(stage, Step(to=to, reasons=("test",)))
    assert stage.release.mode == "canary" and stage.aliases() == (1, 2)


def test_a_promotion_is_finished_whichever_call_of_the_registry_fails(stage, monkeypatch, fault):
    met = 0
    for last in range(1, 20):
        for done in (False, True):
            with registry_gone(monkeypatch, last, done) as gone:
                try:
                    take(stage, PROMOTE)
                except MlflowException:
                    assert stage.release.champion.version == 1, "services act on the file, which comes last"
            current_release.fn(stage.run)
            assert stage.is_settled() and stage.aliases() == (2, None) and stage.release.champion.version == 2
            met += gone.seen >= last
            roll_back(stage.run, 1)
            again(stage)
        if gone.seen < last:
            break
    assert met >= 8
    kept = "the release before serves until the next step, which moves what was not moved: aliases, then the file"
    fault.saw("Release", "a registry that fails at any call of a promotion", exit="–", says="what failed", kept=kept)


@pytest.mark.parametrize("who", ["make rollback", "a step that takes a canary back"])
def test_going_back_takes_effect_whichever_call_of_the_registry_fails(stage, monkeypatch, who, fault):
    for last in range(1, 20):
        with registry_gone(monkeypatch, last) as gone:
            if who == "make rollback":
                assert rollback_release.main(["--system", stage.config]) == DONE
            else:
                assert take(stage, Step(to="rollback", reasons=("worse",)))["mode"] == "single"
        assert (stage.release.mode, stage.release.champion.version) == ("single", 1)
        current_release.fn(stage.run)
        assert stage.is_settled() and stage.aliases() == (1, None)
        again(stage)
        if gone.seen < last:
            break
    assert last > 2
    kept = "what served before serves at once; the next step moves the aliases"
    exit_code = DONE if who == "make rollback" else AGAINST
    fault.saw("Release", f"a registry that fails at any call of {who}", exit=exit_code, says="nothing", kept=kept)


def test_a_promotion_cut_short_and_then_taken_back_without_the_registry_leaves_no_challenger(stage, monkeypatch, fault):
    with registry_gone(monkeypatch, 4), pytest.raises(MlflowException):
        take(stage, PROMOTE)
    assert stage.aliases() == (2, 2) and stage.release.mode == "canary"
    with monkeypatch.context() as patch:
        patch.setattr(tasks.releasing.back, "settle", away)
        roll_back(stage.run, None)
    assert (stage.release.mode, stage.aliases()) == ("single", (2, 2))
    current_release.fn(stage.run)
    assert stage.is_settled() and stage.aliases() == (1, None)
    stage.tracker().client.set_registered_model_alias("tiny", "challenger", "2")
    current_release.fn(stage.run)
    assert stage.aliases() == (1, 2), "told once: what a person sets later stays"
    last = read_releases(stage.run.database_url, "tiny")[-1]
    assert last.evidence["registry"] == "told later"
    kept = "the release before serves; the next step sets both aliases right, once"
    fault.saw(
        "Release", "make rollback without the registry after a promotion that was cut short", exit=DONE,
        says="nothing", kept=kept,
    )  # fmt: skip


def away(*words):
    raise MlflowException("the registry is away")


def test_a_restored_champion_whose_alias_was_not_set_gets_it_from_the_next_step(stage, monkeypatch):
    """The one change in which the file goes before the alias."""
    take(stage, Step(to="rollback", reasons=("test",)))
    stage.tracker().client.delete_registered_model_alias("tiny", "champion")
    with monkeypatch.context() as patch, pytest.raises(MlflowException):
        patch.setattr(MlflowClient, "set_registered_model_alias", away)
        current_release.fn(stage.run)
    current_release.fn(stage.run)
    assert stage.is_settled() and stage.aliases() == (1, None)
