"""Imports go one way, and a server stays light. Read from the AST, so imports inside functions count as well."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = ("vision", "configs", "expectations", "tasks", "flows", "bentos")
ALLOWED = {
    "vision": {"vision"},
    "configs": {"configs", "vision"},
    "expectations": {"expectations", "configs", "vision"},
    "tasks": {"tasks", "expectations", "configs", "vision"},
    "flows": {"flows", "tasks", "expectations", "configs", "vision"},
    "bentos": {"bentos", "configs", "vision"},
}
NOT_IN_VISION = {"prefect", "ray", "mlflow", "bentoml", "dvc", "great_expectations", "evidently"}
HEAVY = ("torch", "mlflow", "prefect", "ray", "evidently", "great_expectations", "sklearn", "matplotlib")
LIGHT = (
    "configs.load",
    "configs.paths",
    "configs.schema",
    "vision.package",
    "vision.kinds",
    "vision.kinds.base",
    "vision.kinds.classify",
    "vision.preprocess",
    "vision.data.features",
    "expectations.contract",
)


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imported(path: Path, source: str | None = None) -> set[str]:
    """Full names of all that a file imports, anywhere in it; relative imports are made absolute."""
    names: set[str] = set()
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(source if source is not None else path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            names.add(".".join(filter(None, (base, node.module))))
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module":
            names |= {str(argument.value) for argument in node.args[:1] if isinstance(argument, ast.Constant)}
    return names


def forbidden(folder: str, names: set[str]) -> set[str]:
    banned = (set(OURS) - ALLOWED[folder]) | (NOT_IN_VISION if folder == "vision" else set())
    return {name for name in names if name.split(".")[0] in banned}


@pytest.mark.parametrize("folder", OURS)
def test_imports_go_one_way(folder):
    assert files(folder)
    faults = {str(path.relative_to(ROOT)): forbidden(folder, imported(path)) for path in files(folder)}
    assert {path: names for path, names in faults.items() if names} == {}


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("vision/data/x.py", "from configs.load import settings"),
        ("vision/data/x.py", "def f():\n    import ray.data"),
        ("vision/x.py", "from ..configs import load"),
        ("tasks/x.py", "from flows.train_model import train_model"),
        ("tasks/x.py", "import bentos.service"),
        ("bentos/x.py", "import importlib\nimportlib.import_module('tasks.cluster.train')"),
        ("expectations/x.py", "import tasks"),
    ],
)
def test_the_walk_sees_a_wrong_import(path, line):
    assert forbidden(Path(path).parts[0], imported(ROOT / path, line))


def loaded_by(module: str, watched: tuple[str, ...]) -> set[str]:
    """Which of `watched` a fresh interpreter has loaded after importing `module`."""
    code = f"import sys, {module}; print(*[n for n in {watched!r} if n in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


def test_what_a_command_or_a_server_starts_with_loads_nothing_heavy():
    assert loaded_by(", ".join(LIGHT), HEAVY) == set()


def test_the_service_loads_no_torch_mlflow_prefect_or_ray():
    assert loaded_by("bentos.service", ("torch", "mlflow", "prefect", "ray")) == set()
