"""docs/faults.md and the tests under tests/faults/ hold each other true."""

import re
from pathlib import Path

from fault_page import AREAS, PAGE, keep_only, plain, read

FUNCTION = re.compile(r"^def (\w+)\((.*?)\)(?: -> [^:\n]+)?:$", re.MULTILINE | re.DOTALL)


def fault_tests() -> set[str]:
    """`module::function` of every test here that takes the `fault` fixture, itself or through a fixture of its module."""
    found = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        takes = {name: set(re.findall(r"\w+", args)) for name, args in FUNCTION.findall(path.read_text())}
        giving = {"fault"} | {name for name, args in takes.items() if "fault" in args and not name.startswith("test_")}
        found |= {f"{path.stem}::{name}" for name, args in takes.items() if name.startswith("test_") and args & giving}
    return found


def test_every_row_has_its_test_and_every_test_its_row(request):
    if request.config.getoption("--write-faults"):
        keep_only(fault_tests())
        return
    assert {row.test for row in read().values()} == fault_tests()


def test_every_row_stands_under_a_known_heading():
    assert {row.area for row in read().values()} <= set(AREAS), f"{PAGE}: unknown heading"


def test_what_differs_between_two_runs_is_left_out():
    text = "/tmp/x/a.jpg took 3.2 s\n  package 0123456789abcdef is a | b"
    assert plain(text, ("/tmp/x",)) == "…/a.jpg took … s<br>package … is a ¦ b"
