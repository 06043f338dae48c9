"""The diagrams of docs/architecture.md say what the code does. That Mermaid draws them was seen in a browser; here they are
held to the flows, to the steps of a release and to the files that they name."""

import ast
import re
from pathlib import Path
from typing import get_args

import pytest

from vision.rollout import Step

PROJECT = Path(__file__).resolve().parents[3]
PAGE = (PROJECT / "docs" / "architecture.md").read_text()
KINDS = ("flowchart", "sequenceDiagram", "stateDiagram-v2")
SECTIONS = {"The whole", "Training", "Inference", "Explanation", "Drift and retraining", "Release", "Lineage"}
"""Those that have one diagram each."""
GATES = {
    "open_run",
    "ray_session",
    "known_training",
    "single_flight",
    "refuse_unfit_start",
    "Completed",
    "Failed",
    "Trained",
    "before",
    "reject",
    "publish",
}
"""What `train_model` calls beside its stages."""
OWN = {"open_run", "single_flight", "ended", "waiting", "trained", "splitlines", "train_model", "Completed"}


def diagrams() -> dict[str, str]:
    found = {}
    for section in PAGE.split("\n## ")[1:]:
        blocks = re.findall(r"```mermaid\n(.*?)```", section, re.DOTALL)
        assert len(blocks) <= 1
        if blocks:
            found[section.splitlines()[0]] = blocks[0]
    return found


def called(flow: str) -> list[str]:
    """Names that the flow's body calls, in the order of the text, each once."""
    tree = ast.parse((PROJECT / "flows" / f"{flow}.py").read_text())
    body = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == flow).body
    calls = [node.func for part in body for node in ast.walk(part) if isinstance(node, ast.Call)]
    calls.sort(key=lambda func: (func.end_lineno, func.end_col_offset))
    return list(dict.fromkeys(getattr(func, "id", getattr(func, "attr", "")) for func in calls))


def nodes(diagram: str) -> list[str]:
    """Ids of a flowchart, in the order in which they are drawn."""
    return list(dict.fromkeys(re.findall(r"(\w+)(?=\[|\{|\(\[)", diagram)))


def test_each_part_that_is_told_has_its_diagram():
    found = diagrams()
    assert set(found) == SECTIONS
    for name, text in found.items():
        assert text.startswith(KINDS), name
        if text.startswith("flowchart"):
            assert [pair for pair in ("[]", "{}", "()") if text.count(pair[0]) != text.count(pair[1])] == [], name
            assert text.count('"') % 2 == 0, name
            assert len(re.findall(r"^\s*subgraph ", text, re.MULTILINE)) == len(
                re.findall(r"^\s*end$", text, re.MULTILINE)
            ), name


def test_the_diagram_of_training_has_the_stages_of_the_flow_in_their_order():
    stages = [name for name in called("train_model") if name not in GATES | {"passed", "set_alias"}]
    drawn = [name for name in nodes(diagrams()["Training"]) if name in stages]
    # `assign_alias(run, version, smoke(...))`: the outer call stands first in the text.
    assert sorted(drawn) == sorted(stages)
    assert [name for name in drawn if name not in ("smoke", "assign_alias")] == [
        name for name in stages if name not in ("smoke", "assign_alias")
    ]
    assert len(stages) >= 16
    assert {"ContractFailed", "Rejected"} <= set(nodes(diagrams()["Training"]))


def test_the_diagram_of_drift_has_the_tasks_of_the_flow():
    tasks = [name for name in called("monitor_drift") if name not in OWN]
    assert len(tasks) >= 9
    assert [name for name in tasks if name not in nodes(diagrams()["Drift and retraining"])] == []


def test_the_diagram_of_a_release_has_every_step_and_no_other():
    drawn = diagrams()["Release"]
    steps = get_args(Step.model_fields["to"].annotation)
    modes = set(re.findall(r"--> (\w+)", drawn))
    assert modes == {"single", "shadow", "canary"}
    named = {*modes, *(step for step in ("promote", "rollback", "stay") if f": {step}" in drawn)}
    assert set(steps) <= named


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_every_file_of_a_diagram_is_there(name):
    for path in re.findall(r"[\w/]+\.(?:py|yaml)\b", diagrams()[name]):
        places = [PROJECT / path, PROJECT / "bentos" / path]
        assert any(place.is_file() for place in places), path
