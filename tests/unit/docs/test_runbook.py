"""The runbook has every message that flows send to people, and every name that a flow ends with. Its alarms are held by
tests/unit/deploy/test_alarms.py."""

import ast
import re
from pathlib import Path

from flows.command import AGAINST
from tasks.monitoring import end

PROJECT = Path(__file__).resolve().parents[3]
RUNBOOK = (PROJECT / "docs" / "runbook.md").read_text()


def calls_of(name: str, *folders: str) -> list[tuple[str, ast.Call]]:
    found = []
    for file in sorted(path for folder in folders for path in (PROJECT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == name:
                found.append((file.relative_to(PROJECT).as_posix(), node))
    return found


def message(node: ast.expr) -> str:
    """A text as a pattern of the runbook's first column: what changes from run to run is `…` there."""
    if isinstance(node, ast.Constant):
        return re.escape(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(re.escape(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    assert isinstance(node, ast.Call) and node.func.id == "headline", ast.unparse(node)
    return "ALARM: …, … of … windows"


def messages() -> dict[str, str]:
    return {message(call.args[1]): file for file, call in calls_of("alert", "tasks", "flows")}


def test_every_message_that_the_code_sends_to_people_is_in_the_runbook():
    sent = messages()
    assert len(sent) >= 6
    told = re.findall(r"^\| `([^`]+)` \| .+ \| .+ \|$", RUNBOOK, re.MULTILINE)
    assert {text: file for text, file in sent.items() if not any(re.fullmatch(text, line) for line in told)} == {}


def test_every_name_that_a_flow_ends_with_is_in_the_runbook():
    names = {
        keyword.value.value
        for kind in ("Completed", "Failed")
        for _, call in calls_of(kind, "flows")
        for keyword in call.keywords
        if keyword.arg == "name" and isinstance(keyword.value, ast.Constant)
    }
    names |= {end.WAITING, end.QUIET, end.CHANGED, end.ALARM}
    assert {"ContractFailed", "Rejected", "Known", "Waiting"} <= names
    table = RUNBOOK[RUNBOOK.index("## How flows end") :]
    assert {name for name in names if f"`{name}`" not in table} == set()
    assert all(
        f"| {AGAINST} |" in line
        for line in table.splitlines()
        if line.startswith(("| `ContractFailed`", "| `Rejected`"))
    )
