"""What goes wrong while a model is released: crashes between the steps, two at once, a registry that is away."""

from threading import Thread

import pytest
from disks import locked
from state_folder import EarlierClock, flip

import flows.rollback_release as rollback_release
import tasks.releasing.change
import tasks.releasing.step
import tasks.services
from flows.command import DONE, FAULT, MISTAKE, main
from flows.release_model import release_model
from tasks.releasing.step import current_release, gather_evidence
from tests.drawn_answers import Nature
from tests.release_stage import ReleaseStage, take
from vision.release import moved
from vision.rollout import Step, next_step

DEAD = "http://127.0.0.1:9"
PROMOTE = Step(to="promote", reasons=("proven",))
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]


def command(stage, capfd, flow=lambda argv: main(release_model, argv=argv)):
    """Exit code, and what was printed to either stream."""
    capfd.readouterr()
    code = flow(["--system", stage.config])
    out, err = capfd.readouterr()
    assert "Traceback" not in err, err
    return code, out, err.partition("error: ")[2]


def test_a_rollback_beside_a_step_waits_for_it_and_then_goes_back(stage, capfd, fault):
    with stage.run.single_flight("release"):
        told = []
        thread = Thread(target=lambda: told.append(rollback_release.main(["--system", stage.config])))
        thread.start()
        thread.join(3)
        assert thread.is_alive()
        take(stage, PROMOTE)
    thread.join()
    assert told == [DONE] and stage.steps()[-2:] == ["promote", "rollback"]
    assert stage.release.champion.version == 1 and stage.is_settled()
    says = next(line for line in capfd.readouterr().out.splitlines() if "waiting" in line)
    kept = "first the one, then the other, each whole"
    fault.saw("Release", "make rollback while a step is being made", exit=DONE, says=says, kept=kept)


def test_a_registry_that_does_not_answer(stage, capfd, monkeypatch, fault):
    monkeypatch.setenv("VISIONOPS_MLFLOW_URI", DEAD)
    stage.drawn().canary(70)
    code, _, said = command(stage, capfd)
    assert code == FAULT and "does not answer" in said and stage.release.no == 2 and len(stage.steps()) == 3
    kept = "rows, aliases and release as they were"
    fault.saw("Release", "a registry that does not answer, when a step begins", exit=FAULT, says=said, kept=kept)
    code, out, said = command(stage, capfd, rollback_release.main)
    assert code == DONE and stage.release.mode == "single", said
    monkeypatch.delenv("VISIONOPS_MLFLOW_URI")
    assert stage.aliases() == (1, 2)
    current_release.fn(stage.run)
    assert stage.aliases() == (1, None) and stage.is_settled()
    says, kept = out.strip().splitlines()[-1], "what served before serves at once; the next step moves the aliases"
    fault.saw("Release", "make rollback while the registry does not answer", exit=DONE, says=says, kept=kept)


@pytest.mark.system  # MLflow tries a locked database again for half a minute
def test_a_registry_that_goes_away_during_a_promotion(stage, capfd, monkeypatch, fault):
    stage.drawn().canary(70)
    real = tasks.releasing.change.add_release
    database = stage.run.state.mlflow_db
    monkeypatch.setenv("VISIONOPS_MLFLOW_URI", f"sqlite:///{database}?timeout=0.2")  # MLflow's own 5 s, some times over
    with locked_after(monkeypatch, real, database):
        code, _, said = command(stage, capfd)
    assert code == FAULT and "locked" in said and stage.release.no == 2 and stage.aliases() == (1, 2)
    code, out, _ = command(stage, capfd)
    assert code == DONE and stage.is_settled() and stage.aliases() == (2, None) and "release 3" in out
    kept = "no alias is moved, the old release serves; the next step finishes the promotion"
    also = (stage.run.folder.parents[1],)
    fault.saw(
        "Release",
        "a registry that is locked just when a model is promoted",
        exit=FAULT,
        says=said.split("[SQL")[0],
        kept=kept,
        also=also,
    )


def locked_after(monkeypatch, real, database):
    """The registry's database is locked as soon as the rows are written, until the block ends."""
    from contextlib import ExitStack

    held = ExitStack()

    def then_lock(*words):
        real(*words)
        held.enter_context(locked(database))

    patch = held.enter_context(monkeypatch.context())
    patch.setattr(tasks.releasing.change, "add_release", then_lock)
    return held


def test_a_wiped_registry_in_the_middle_of_a_canary(stage, tmp_path, monkeypatch, fault):
    monkeypatch.setenv("VISIONOPS_MLFLOW_URI", f"sqlite:///{tmp_path / 'second.db'}")
    fresh = ReleaseStage(stage.config)
    sha = stage.release.champion.package_sha
    release = current_release.fn(fresh.run)
    assert (release.mode, release.champion.package_sha, fresh.aliases()) == ("canary", sha, (1, None))
    take(fresh, PROMOTE)
    assert fresh.is_settled() and fresh.release.champion.version == 2
    fault.saw(
        "Release", "a registry wiped in the middle of a canary", exit=DONE, says="nothing",
        kept="the champion is registered again and serves; the canary goes on, and is registered again when it is promoted",
    )  # fmt: skip


def test_a_challenger_whose_package_is_damaged(stage, capfd, fault):
    take(stage, Step(to="rollback", reasons=("test",)))
    third = stage.train("third")
    flip(stage.run.packages / third.package_sha / "model.onnx")
    code, _, said = command(stage, capfd)
    assert code in (FAULT, MISTAKE) and "has changed since it was sealed" in said
    assert stage.release.mode == "single" and stage.steps()[-1] == "rollback"
    kept = "the champion answers alone; nothing was begun"
    also = (stage.run.folder.parents[1],)
    fault.saw("Release", "a byte of the challenger's package changed", exit=code, says=said, kept=kept, also=also)


def test_a_release_file_that_is_damaged(stage, capfd, fault):
    whole = stage.run.release_file.read_text()
    stage.run.release_file.write_text(whole[:40])
    code, _, said = command(stage, capfd)
    assert code == MISTAKE and "release.json" in said and stage.run.release_file.read_text() == whole[:40]
    stage.run.release_file.unlink()
    current_release.fn(stage.run)
    assert (
        stage.is_settled()
        and stage.release.model_dump_json() == stage.release.model_validate_json(whole).model_dump_json()
    )
    kept = "the file as it is; services keep the release that they have. Removed, it is written again from state.db"
    also = (stage.run.folder.parents[1],)
    fault.saw("Release", "a damaged release.json", exit=MISTAKE, says=said, kept=kept, also=also)


def test_a_clock_that_is_set_back(stage, monkeypatch, fault):
    stage.drawn().canary(20)
    for module in (
        "tasks.releasing.step",
        "tasks.audit",
        "tasks.releasing.table",
        "vision.release",
        "tasks.releasing.status",
    ):
        monkeypatch.setattr(f"{module}.datetime", EarlierClock)
    release = current_release.fn(stage.run)
    evidence = gather_evidence.fn(stage.run, release)
    step = next_step(release, evidence, stage.run.config.release, EarlierClock.now(release.at.tzinfo))
    assert (step.to, evidence.answers) == ("stay", 20)
    outcome = take(stage, PROMOTE)
    assert outcome["release_no"] == 3 and stage.is_settled() and stage.release.at.year == 2001
    kept = "the release and its evidence; numbers, not times, say which release is the last"
    fault.saw(
        "Release", "the clock set back by years in the middle of a canary", exit=DONE, says=step.reasons[0], kept=kept
    )


def test_a_service_that_restarts_in_the_middle_of_a_canary(stage, fault):
    before = stage.release
    stage.drawn(1).canary(40, labelled=0.5)
    half = gather_evidence.fn(stage.run, before)
    stage.drawn(2).canary(30, labelled=0.5)
    whole = gather_evidence.fn(stage.run, current_release.fn(stage.run))
    assert (half.answers, whole.answers) == (40, 70) and whole.labels > half.labels
    assert (stage.release.salt, stage.release.share) == (before.salt, 0.1)
    kept = "all evidence, from the files of both processes; share and salt stand in release.json, so clients stay"
    fault.saw("Release", "a service that restarts in the middle of a canary", exit="–", says="nothing", kept=kept)


def test_a_worker_that_misses_a_release(stage, fault):
    """It goes on answering under the number before, until it has caught up."""
    late = stage.drawn()
    late.release = moved(stage.release, "earlier", no=1, mode="shadow", share=0.0)
    late.shadow(80, Nature(wrong=0.9), labelled=1.0)
    stage.drawn().canary(20)
    evidence = gather_evidence.fn(stage.run, stage.release)
    assert (evidence.answers, evidence.champion_answers, evidence.labels) == (20, 180, 0)
    kept = "its answers, under the number of their release; they are no evidence for the next one"
    fault.saw("Release", "a worker that misses a release", exit="–", says="nothing", kept=kept)


def test_an_alias_that_was_moved_by_hand(stage, caplog, fault):
    stage.tracker().client.set_registered_model_alias("tiny", "champion", "2")
    current_release.fn(stage.run)
    assert stage.aliases()[0] == 1 and stage.audited()[-1] == ("alias:champion", 1)
    (said,) = (record.getMessage() for record in caplog.records if "set right" in record.getMessage())
    kept = "what serves; the alias is set to it again, with an audit row"
    fault.saw("Release", "the alias champion moved by hand", exit=DONE, says=said, kept=kept)


def test_nothing_to_go_back_to(stage, capfd, fault):
    take(stage, Step(to="rollback", reasons=("test",)))
    code, _, said = command(stage, capfd, rollback_release.main)
    assert code == MISTAKE and stage.steps()[-1] == "rollback" and len(stage.steps()) == 4
    fault.saw(
        "Release", "make rollback with nothing to go back to", exit=MISTAKE, says=said, kept="the release as it is"
    )
