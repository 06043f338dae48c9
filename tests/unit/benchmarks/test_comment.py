import pytest

from benchmarks.comment import table
from vision.errors import UserError


def test_the_last_line_becomes_a_table():
    said = table('round 1: …\n{"ray_vs_plain": 0.951, "last": {"threads": 12}, "bad": "a|b"}\n')
    assert said.splitlines()[2:] == ["| ray_vs_plain | 0.951 |", "| last.threads | 12 |", "| bad | a¦b |"]


def test_an_output_without_figures_is_refused():
    for text in ("", "killed", '{"a": 1}\nTraceback', "[1]"):
        with pytest.raises(UserError, match="no JSON object"):
            table(text)
