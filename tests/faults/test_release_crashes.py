"""A release step that dies half-way, and two at once: one change, whole, in rows, aliases and file."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Barrier, Thread

import pytest

import tasks.releasing.change
import tasks.releasing.step
from flows.command import DONE
from tasks.releasing.step import current_release, gather_evidence, take_step
from tests.release_stage import take
from vision.rollout import Step

PROJECT = Path(__file__).resolve().parents[2]
PROMOTE = Step(to="promote", reasons=("proven",))
pytestmark = pytest.mark.slow


class Crash(BaseException):
    """As a kill, seen from inside: nothing catches it."""


def crash(*words):
    raise Crash


POINTS = {
    "rows, no alias": ("_set_champion", False),
    "the champion's alias, the challenger's still there": ("_set_champion", True),
    "both aliases, no file": ("write_release", False),
    "the file, no status": ("write_status", False),
}


@pytest.mark.parametrize("point", POINTS)
def test_a_promotion_that_dies_half_way_is_finished_by_the_next_step(stage, point, monkeypatch, fault):
    name, after = POINTS[point]
    module = tasks.releasing.step if name == "write_status" else tasks.releasing.change
    real = getattr(module, name)
    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(module, name, lambda *words: crash(real(*words)) if after else crash())
        take(stage, PROMOTE)
    assert stage.release.champion.version == (1 if name != "write_status" else 2)
    current_release.fn(stage.run)
    assert stage.is_settled() and stage.aliases() == (2, None) and stage.release.champion.version == 2
    assert (
        stage.steps() == ["first", "shadow", "canary", "promote"] and stage.audited().count(("alias:champion", 2)) == 1
    )
    fault.saw(
        "Release", f"a promotion that dies with {point}", exit="–", says="nothing can be said",
        kept="the old release serves until the file is there; the next step finishes: one row, one alias, one file",
    )  # fmt: skip


KILLED = """
import os, signal, sys
import tasks.releasing.change as change
from tasks.releasing.step import current_release, gather_evidence, take_step
from tasks.run import open_run
from vision.rollout import Step
change.write_release = lambda *words: os.kill(os.getpid(), signal.SIGKILL)
run = open_run(sys.argv[1], {}, "test")
release = current_release.fn(run)
take_step.fn(run, release, gather_evidence.fn(run, release), Step(to="promote", reasons=("proven",)))
"""


def test_sigkill_between_alias_and_file(stage, fault):
    done = subprocess.run([sys.executable, "-c", KILLED, stage.config], cwd=PROJECT, env=dict(os.environ), timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert stage.release.no == 2 and stage.aliases() == (2, None)
    current_release.fn(stage.run)
    assert stage.is_settled() and stage.release.champion.version == 2
    kept = "services answer as before; the next step writes the file of the promotion"
    fault.saw("Release", "SIGKILL of a step between alias and file", exit="–", says="nothing can be said", kept=kept)


def test_two_steps_at_once_make_one_change(stage, fault):
    """On two hosts, where no file lock stands between them: the number of a release is taken once."""
    release, start, told = stage.release, Barrier(2), []
    evidence = gather_evidence.fn(stage.run, release)

    def go(step):
        start.wait()
        told.append(take_step.fn(stage.run, release, evidence, step))

    threads = [Thread(target=go, args=(step,)) for step in (PROMOTE, Step(to="rollback", reasons=("worse",)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    current_release.fn(stage.run)
    (won,), (lost,) = ([one for one in told if one["changed"] is changed] for changed in (True, False))
    assert "was made by someone else" in lost["text"] and len(stage.steps()) == 4
    assert stage.is_settled() and stage.release.champion.version == won["champion_version"]
    says, kept = lost["reasons"][0], "one change, its row, aliases and file; the other does nothing"
    fault.saw("Release", "two release steps at once, on two machines", exit=DONE, says=says, kept=kept)
