"""What is told of the gate, and when a step forward is due. With a real registry: tests/integration/test_release_model.py."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from flows import show_evidence
from vision.edge import AGAINST, DONE, MISTAKE
from vision.release import ReleasedModel, first_release, moved
from vision.rollout import Evidence, Step

CHAMPION = ReleasedModel(version=1, package_sha="a" * 64, uri="packages/a")
CHALLENGER = ReleasedModel(version=2, package_sha="b" * 64, uri="packages/b")
ALONE = first_release(CHAMPION, "first")
SHADOW = moved(ALONE, "shadow", challenger=CHALLENGER, mode="shadow", salt="x")


@pytest.fixture
def show(monkeypatch, tmp_path, capsys):
    """`show(release, step, verdict)`: exit code and what is printed; the step is what the evidence leads to."""
    own = SimpleNamespace

    class Run(SimpleNamespace):
        def single_flight(self, what):
            return nullcontext()

    def put(release, to="stay", verdict=None):
        run = Run(config=own(title="Leaves", release=None), stages=tmp_path)
        monkeypatch.setattr(show_evidence, "open_run", lambda system, overrides: run)
        monkeypatch.setattr(show_evidence, "current_release", own(fn=lambda run: release))
        monkeypatch.setattr(
            show_evidence, "gather_evidence", own(fn=lambda run, release: Evidence(release_no=release.no))
        )
        monkeypatch.setattr(show_evidence, "waiting_version", lambda run, release: None)
        monkeypatch.setattr(show_evidence, "gate_verdict", lambda stages, sha: verdict)
        monkeypatch.setattr(show_evidence, "next_step", lambda *_: Step(to=to, reasons=("60 of 60 pairs",)))
        code = show_evidence.main(["--system", "quickstart"])
        said = capsys.readouterr()
        return code, said.out + said.err

    return put


def test_a_step_forward_that_gate_and_service_speak_for_ends_with_0(show):
    code, said = show(SHADOW, "canary", {"passed": True, "reasons": ["macro_f1 0.94 >= 0.85 (minimum)"]})
    assert code == DONE and "package bbbbbbbb passed" in said and "macro_f1 0.94" in said and "canary: 60 of 60" in said


@pytest.mark.parametrize(
    ("to", "verdict", "says"),
    [
        ("stay", {"passed": True, "reasons": []}, "next      stay"),
        ("rollback", {"passed": True, "reasons": []}, "next      rollback"),
        ("canary", {"passed": False, "reasons": ["recall 0.1 < 0.5"]}, "FAILED"),
        ("canary", None, "its verdict is not in"),
    ],
)
def test_whatever_lacks_is_told_and_ends_with_3(to, verdict, says, show):
    code, said = show(SHADOW, to, verdict)
    assert code == AGAINST and says in said


def test_where_nothing_waits_there_is_nothing_to_promote(show):
    code, said = show(ALONE)
    assert code == AGAINST and "nothing waits to be released" in said
    code, said = show(None)
    assert code == MISTAKE and "make train" in said
