"""A challenger's way through shadow and canary, and back, on a real MLflow and Prefect, on drawn answers."""

import json

import pytest

import flows.rollback_release as rollback_release
import flows.show_evidence as show_evidence
from flows.command import AGAINST, DONE, FAULT, MISTAKE, main
from flows.release_model import release_model
from tasks.releasing.change import releases
from tests.drawn_answers import Nature
from tests.release_stage import ReleaseStage, own_state

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]


@pytest.fixture
def stage(tmp_path, tiny, monkeypatch):
    own_state(monkeypatch, tmp_path / "state")
    return ReleaseStage(tiny(release={"shadow_pairs": 60, "canary_answers": 60}))


def step(stage, *pairs):
    more = [word for pair in pairs for word in ("--set", pair)]
    return main(release_model, argv=["--system", stage.config, *more])


def back(stage, *more):
    return rollback_release.main(["--system", stage.config, *more])


def status(stage):
    return json.loads((stage.run.folder / "release_status.json").read_text())


def test_a_sound_challenger_goes_through_shadow_and_canary_and_can_be_taken_back(stage, capsys):
    assert step(stage) == DONE and "no model is released yet" in capsys.readouterr().out
    stage.train("first")
    assert step(stage) == DONE and stage.release.mode == "single" and status(stage)["step"] == "stay"
    stage.train("second")

    assert step(stage) == DONE and stage.release.mode == "shadow"
    assert "version 2" in capsys.readouterr().out
    stage.drawn().shadow(30)
    assert step(stage) == DONE and (stage.release.no, stage.release.mode) == (1, "shadow")
    assert "30 of 60 pairs" in capsys.readouterr().out
    stage.drawn(1).shadow(40, labelled=0.5)
    assert step(stage, "release.automatic=false") == DONE and stage.release.mode == "shadow"
    capsys.readouterr()
    assert show_evidence.main(["--system", stage.config]) == AGAINST  # nothing was trained here, so there is no gate
    said = capsys.readouterr().out
    assert "its verdict is not in" in said and "next      canary" in said and "disagreement" in said
    assert stage.release.mode == "shadow"
    assert step(stage) == DONE
    canary = stage.release
    assert (canary.no, canary.mode, canary.share, len(canary.salt)) == (2, "canary", 0.1, 16)
    assert stage.aliases() == (1, 2)

    stage.drawn(2).canary(70)
    assert step(stage) == DONE and stage.release.mode == "single" and stage.release.champion.version == 2
    out = capsys.readouterr().out
    assert "decided   promote" in out and "70 answers of the challenger" in out and "release 3: version 2" in out
    assert stage.aliases() == (2, None) and stage.is_settled()
    assert (status(stage)["release_no"], status(stage)["challenger_version"], status(stage)["step"]) == (
        3,
        None,
        "promote",
    )
    row = releases(stage.run)[-1]
    assert row.evidence["answers"] == 70 and row.evidence["measures"][0]["name"] == "failures"

    assert back(stage, "--reason", "people complain") == DONE
    assert stage.release.champion.version == 1 and stage.aliases() == (1, None) and stage.is_settled()
    assert "people complain" in stage.release.reason
    assert back(stage) == MISTAKE and "no champion was before it" in capsys.readouterr().err
    assert back(stage, "--to", "7") == MISTAKE and "version 7" in capsys.readouterr().err
    assert back(stage, "--to", "2") == DONE and stage.aliases() == (2, None)
    assert stage.steps() == ["first", "shadow", "canary", "promote", "rollback", "rollback"]
    assert [what for what, _ in stage.audited()] == [
        "alias:champion", "alias:challenger", "release:shadow", "release:canary", "release:promote", "alias:champion",
        "release:rollback", "alias:champion", "release:rollback", "alias:champion",
    ]  # fmt: skip


def test_a_bad_challenger_is_taken_back_and_does_not_come_again_by_itself(stage, capsys, caplog):
    stage.train("first")
    second = stage.train("second")
    assert step(stage) == DONE
    stage.drawn().shadow(80, Nature(wrong=0.7), labelled=1.0)
    assert step(stage) == AGAINST
    assert "accuracy_loss" in capsys.readouterr().out and "taken back" in caplog.text
    assert (stage.release.mode, stage.release.champion.version) == ("single", 1) and stage.aliases() == (1, None)
    assert stage.audited()[-2:] == [("release:rollback", 1), ("alias:none", 2)]
    assert stage.train("second").version == second.version and stage.aliases() == (1, None)
    stage.train("third")
    assert step(stage) == DONE and stage.release.challenger.version == 3


def test_a_champion_that_disappoints_gives_its_place_back(stage, capsys):
    stage.train("first")
    stage.train("second")
    step(stage)
    stage.drawn().shadow(70, labelled=1.0)
    step(stage)
    stage.drawn().canary(70, labelled=0.5)
    step(stage)
    assert stage.release.champion.version == 2
    stage.drawn().alone(200, Nature(wrong=0.6), labelled=1.0)

    model = stage.run.packages / releases(stage.run)[0].document.champion.package_sha / "model.onnx"
    sealed = model.read_text()
    model.write_text("rot")
    assert step(stage) in (FAULT, MISTAKE) and "has changed since it was sealed" in capsys.readouterr().err
    assert stage.release.champion.version == 2 and stage.is_settled(), "nobody is sent back to what no service can load"
    model.write_text(sealed)
    assert step(stage) == AGAINST and "the new champion disappoints: accuracy_loss" in capsys.readouterr().out
    assert stage.release.champion.version == 1 and stage.aliases() == (1, None)
