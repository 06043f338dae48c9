"""The notebook is code like any other: its cells run in order, on a tiny system."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import TINY

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "walkthrough.ipynb"


def cells(kind="code"):
    return [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == kind]


def source(cell):
    return "".join(cell["source"])


def is_parameters(cell):
    return "parameters" in cell["metadata"].get("tags", ())


def test_the_notebook_carries_no_output_and_walks_every_stage_of_a_training():
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells())
    told = " ".join(source(cell) for cell in cells("markdown"))
    for stage in (
        "ingest",
        "describe",
        "split",
        "validate",
        "explore",
        "cache",
        "train",
        "evaluate",
        "analyse",
        "export",
        "gate",
    ):
        assert f"`{stage}`" in told


@pytest.mark.slow
def test_its_cells_run_in_order_and_end_with_an_answer(tmp_path, monkeypatch, capsys):
    system = tmp_path / "tiny.yaml"
    system.write_text(yaml.safe_dump(TINY))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(NOTEBOOK.parent)
    names = {"__name__": "walkthrough"}
    for number, cell in enumerate(cells()):
        text = f"SYSTEM, CHANGES = {str(system)!r}, {{}}" if is_parameters(cell) else source(cell)
        exec(compile(text, f"walkthrough cell {number}", "exec"), names)
    assert Path.cwd() == ROOT, "as a user's kernel, it goes to the project's root"
    assert names["package"].spec.labels == names["made"].labels
    assert names["answer"]["label"] in names["made"].labels
    said = capsys.readouterr().out
    assert "golden images: passed=True" in said and "The hardest images" in said
    assert [path.name for path in (names["WORK"] / "packages").iterdir()] == [names["sha"]]
