from tasks.progress import progress


def test_without_a_terminal_progress_is_lines(capsys):
    with progress("train", unit="epoch") as bar:
        bar(1, 3, "macro_f1 0.500")
        bar(2, 3)
        bar(3, 3)
    assert capsys.readouterr().out.splitlines() == ["  train 1/3 epoch macro_f1 0.500", "  train 3/3 epoch"]
