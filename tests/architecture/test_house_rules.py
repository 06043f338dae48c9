"""House rules that a machine can hold: sizes, one reader of the environment, no machine paths, nothing on import."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = ("vision", "configs", "expectations", "tasks", "flows", "bentos", "tests", "benchmarks")
FILE_LINES, FUNCTION_LINES, FLOW_LINES, PARAMETERS = 250, 40, 40, 6
READER = "configs/load.py"
# May set variables and hand their own environment on to a child process.
STARTERS = ("tasks/", "flows/", "benchmarks/", "expectations/contract.py")
# Reads that stay outside the settings, because the variable is another program's and only passed on, extended.
EXCEPTIONS = {
    ("tasks/packaging/build_bento.py", "PATH"),
    ("tasks/packaging/bento.py", "BENTOML_HOME"),
    ("bentos/metrics/folder.py", "VARIABLE"),
}
# Written so that this file doesn't name them itself.
HOSTS = re.compile(r"py[p]i\.org|python[h]osted|npm[j]s\.|proxy\.gol[a]ng|download\.py[t]orch")
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|root|home/\w+|Users/\w+)/[\w.]")
ASKING = r"httpx\.(get|post|put|delete|request|stream|Client|AsyncClient)"
READERS = {"getenv", "environ", "environb"}


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def tracked() -> list[Path]:
    """Files that git tracks or would take: the new ones of a working copy count."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [path for name in names if (path := ROOT / name).is_file()]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(tree: ast.AST):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def environment_uses(tree: ast.AST) -> list[tuple[str, str]]:
    """(how, variable) of each use of the environment: `set`, `hand_on` (`{**os.environ}`) or `read`."""
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    uses = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "os" and {a.name for a in node.names} & READERS:
            uses.append(("read", "import"))
        if isinstance(node, ast.Attribute) and node.attr in READERS and getattr(node.value, "id", "") == "os":
            uses.append(_use(node, parents))
    return uses


def _use(node: ast.Attribute, parents: dict[ast.AST, ast.AST]) -> tuple[str, str]:
    """`node` is `os.environ` or `os.getenv`; what is done with it stands around it."""
    parent = parents[node]
    above = parents.get(parent)
    if isinstance(parent, ast.Dict):
        return "hand_on", ""
    if isinstance(parent, ast.Subscript):
        return "read" if isinstance(parent.ctx, ast.Load) else "set", _constant(parent.slice)
    if isinstance(parent, ast.Attribute) and parent.attr in ("setdefault", "update", "pop"):
        unused = isinstance(parents.get(above), ast.Expr)
        return "set" if unused else "read", _constant(above.args[0]) if isinstance(above, ast.Call) else ""
    call = parent if isinstance(parent, ast.Call) else above
    return "read", _constant(call.args[0]) if isinstance(call, ast.Call) and call.args else ""


def _constant(node: ast.AST) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else ast.unparse(node)


def test_files_are_short():
    lengths = {name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in python_files(*CODE)}
    assert {path: lines for path, lines in lengths.items() if lines > FILE_LINES} == {}


def test_functions_are_short_and_take_few_parameters():
    faults = {}
    for path in python_files(*(folder for folder in CODE if folder != "tests")):
        for node in functions(ast.parse(path.read_text(encoding="utf-8"))):
            lines = node.end_lineno - node.lineno + 1
            taken = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            parameters = len([arg for arg in taken if arg not in ("self", "cls")])
            if lines > FUNCTION_LINES or parameters > PARAMETERS:
                faults[f"{name(path)}:{node.name}"] = f"{lines} lines, {parameters} parameters"
    assert faults == {}


def test_only_one_module_reads_the_environment():
    faults = {}
    for path in python_files(*(folder for folder in CODE if folder != "tests")):
        here = name(path)
        for how, variable in environment_uses(ast.parse(path.read_text(encoding="utf-8"))):
            starter = how != "read" and here.startswith(STARTERS)
            if not (here == READER or starter or (here, variable) in EXCEPTIONS):
                faults.setdefault(here, []).append((how, variable))
    assert faults == {}


@pytest.mark.parametrize(
    ("source", "use"),
    [
        ("x = os.environ['A']", ("read", "A")),
        ("x = os.getenv('A')", ("read", "A")),
        ("x = os.environ.get('A', 1)", ("read", "A")),
        ("x = os.environ.setdefault('A', 'b')", ("read", "A")),
        ("if 'A' in os.environ: pass", ("read", "")),
        ("from os import environ", ("read", "import")),
        ("os.environ['A'] = 'b'", ("set", "A")),
        ("os.environ.setdefault('A', 'b')", ("set", "A")),
        ("run(env={**os.environ, 'A': 'b'})", ("hand_on", "")),
    ],
)
def test_the_walk_tells_reads_of_the_environment_from_hand_overs(source, use):
    assert environment_uses(ast.parse(f"import os\n{source}")) == [use]


def test_no_file_names_a_registry_host_or_a_path_of_this_machine():
    faults = {}
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found = HOSTS.findall(text) + MACHINE_PATH.findall(text)
        if found:
            faults[name(path)] = found
    assert faults == {}


def test_there_is_no_utils_and_no_init_under_tests():
    assert [name(path) for path in tracked() if path.name in ("utils.py", "helpers.py")] == []
    assert [name(path) for path in python_files("tests") if path.name == "__init__.py"] == []


def test_every_request_says_how_long_it_waits():
    """httpx's own 5 s are over too soon on a machine that a training keeps busy."""
    faults = {}
    for path in python_files(*CODE):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            asks = isinstance(node, ast.Call) and re.fullmatch(ASKING, ast.unparse(node.func))
            if asks and "timeout" not in {keyword.arg for keyword in node.keywords}:
                faults.setdefault(name(path), []).append(node.lineno)
    assert faults == {}


def test_no_module_works_at_import():
    """At module level stand imports, definitions, assignments, docstrings and guards (`TYPE_CHECKING`, `__main__`)."""
    allowed = (
        ast.Import,
        ast.ImportFrom,
        ast.FunctionDef,
        ast.AsyncFunctionDef,
        ast.ClassDef,
        ast.Assign,
        ast.AnnAssign,
    )
    faults = {}
    for path in python_files(*(folder for folder in CODE if folder != "tests")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            guard = isinstance(node, ast.If) and re.search("TYPE_CHECKING|__name__", ast.unparse(node.test))
            if not (isinstance(node, allowed) or text or guard):
                faults.setdefault(name(path), []).append(ast.unparse(node)[:80])
    assert faults == {}
