from uuid6 import uuid7

from flows.command import MISTAKE
from flows.trace_prediction import main


def test_an_unknown_prediction_is_told_with_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VISIONOPS_STATE", str(tmp_path))
    assert main([str(uuid7())]) == MISTAKE
    assert "no record of prediction" in capsys.readouterr().err


def test_a_text_that_is_no_id_is_told_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VISIONOPS_STATE", str(tmp_path))
    assert main(["../../etc"]) == MISTAKE
    assert "is no prediction id" in capsys.readouterr().err
