"""docs/features.md, from each requirement to its code and its test: nothing is left out, and all that it names is there."""

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]
PAGE = PROJECT / "docs" / "features.md"
LAST, OURS = 224, 14
NUMBER = r"\d+|U\d+"
STATES = {"done": "", "partly": "Missing:", "no": "Why:"}
"""What a row must say that is not done."""


def rows(page: str) -> list[dict[str, str]]:
    found = []
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if cells and re.fullmatch(NUMBER, cells[0]):
            found.append(dict(zip(("no", "name", "state", "told", "code", "tests"), cells, strict=True)))
    return found


@cache
def functions(file: Path) -> frozenset[str]:
    return frozenset(node.name for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef))


def quoted(cell: str) -> list[str]:
    names = re.findall(r"`([^`]+)`", cell)
    assert re.sub(r"`[^`]+`|[,\s]", "", cell) == "", f"not a list of names in backticks: {cell}"
    return names


def faults(row: dict[str, str]) -> list[str]:
    """What is wrong with one row."""
    if row["state"] not in STATES:
        return [f"state {row['state']!r}"]
    wrong = [] if row["name"] else ["no name"]
    others = {word for state, word in STATES.items() if word and state != row["state"]}
    if STATES[row["state"]] not in row["told"] or any(word in row["told"] for word in others):
        wrong.append(f"a row that is {row['state']} says {STATES[row['state']] or 'neither'!r}: {row['told']!r}")
    code, tests = quoted(row["code"]), quoted(row["tests"])
    if row["state"] != "no" and not (code and tests):
        wrong.append("names no code, or no test")
    wrong += [f"no file {path}" for path in code if not (PROJECT / path).is_file()]
    for test in tests:
        path, _, function = test.partition("::")
        if not path.startswith("tests/") or not (PROJECT / path).is_file():
            wrong.append(f"no test file {path}")
        elif function not in functions(PROJECT / path) or not function.startswith("test_"):
            wrong.append(f"no test {test}")
    return wrong


def test_every_feature_has_one_row():
    numbers = [row["no"] for row in rows(PAGE.read_text())]
    assert numbers == [*map(str, range(1, LAST + 1)), *(f"U{number}" for number in range(1, OURS + 1))]


def test_all_that_a_row_names_is_there_and_what_is_not_done_says_why():
    wrong = {row["no"]: found for row in rows(PAGE.read_text()) if (found := faults(row))}
    assert wrong == {}


def test_the_page_counts_its_rows_right():
    page = PAGE.read_text()
    counted = Counter(row["state"] for row in rows(page))
    said = re.search(r"\*\*(\d+) done, (\d+) partly, (\d+) not\.\*\*", page)
    assert said, "the head of the page says how many rows are done, partly and not"
    assert tuple(map(int, said.groups())) == (counted["done"], counted["partly"], counted["no"])
    # Each partly and each no is listed by its number, so that a reader sees the gaps at once.
    head = page[: page.index("\n## ")]
    listed = re.findall(rf"^- ({NUMBER}):", head, re.MULTILINE)
    assert listed == [row["no"] for row in rows(page) if row["state"] != "done"]


GOOD = {
    "no": "1", "name": "A thing", "state": "done", "told": "", "code": "`vision/package.py`",
    "tests": "`tests/unit/docs/test_features.py::test_every_feature_has_one_row`",
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"state": "nearly"}, "state"),
        ({"code": "`vision/gone.py`"}, "no file"),
        ({"tests": "`tests/unit/docs/test_features.py::test_gone`"}, "no test"),
        ({"tests": ""}, "names no code"),
        ({"state": "partly"}, "Missing:"),
        ({"told": "Missing: all of it"}, "neither"),
        ({"state": "no", "told": "later"}, "Why:"),
    ],
)
def test_a_row_that_is_not_true_is_seen(change, said):
    assert faults(GOOD) == []
    assert said in " ".join(faults({**GOOD, **change}))
