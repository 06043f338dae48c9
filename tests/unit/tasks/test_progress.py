from tasks.progress import progress


def test_without_a_terminal_progress_is_lines(capsys):
    with progress("train", unit="epoch") as bar:
        bar(1, 3, "macro_f1 0.500")
        bar(2, 3)
        bar(3, 3)
    assert capsys.readouterr().out.splitlines() == ["  train 1/3 epoch macro_f1 0.500", "  train 3/3 epoch"]


def test_a_server_that_is_away_does_not_end_the_work(monkeypatch, caplog):
    def away(*args, **kwargs):
        raise RuntimeError("Failed to reach API")

    monkeypatch.setattr("tasks.progress.update_progress_artifact", away)
    with progress("train", unit="epoch") as bar:
        bar.artifact_id = "an id"
        bar(3, 3)
    assert "Failed to reach API" in caplog.text
