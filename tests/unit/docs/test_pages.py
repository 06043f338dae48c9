"""What the pages tell people to run and to open is there: paths, links, make targets, modules, settings, decisions."""

import re
from functools import cache
from pathlib import Path

import pytest

from configs.load import Settings
from configs.schema import SystemConfig

PROJECT = Path(__file__).resolve().parents[3]
DOCS = PROJECT / "docs"
GENERATED = {"faults.md"}
"""Written by tests, with names of files that never were."""
PAGES = [PROJECT / "README.md", *(page for page in sorted(DOCS.rglob("*.md")) if page.name not in GENERATED)]
FOLDERS = "benchmarks|bentos|configs|deploy|docs|expectations|flows|notebooks|tasks|tests|vision|web"
PATH = re.compile(rf"^(?:\.ci|\.github|{FOLDERS})/[\w./-]*$")
FILES = {"html", "json", "md", "onnx", "py", "safetensors", "yaml"}
"""Endings: `model.onnx` is no key."""
MADE_BY = {
    "docs/serving-speed.md": "benchmarks/serving_page.py",
    "docs/pretraining.md": "benchmarks/pretraining_page.py",
}
"""Pages that a benchmark writes where it is run."""


def by_page(page: Path) -> str:
    return page.relative_to(PROJECT).as_posix()


def paths_of(text: str) -> set[str]:
    return {name for name in re.findall(r"`([^`\n]+)`", text) if PATH.match(name)}


def is_there(path: str) -> bool:
    writer = MADE_BY.get(path)
    # What people make from an example is not in the repository.
    there = (PROJECT / path).exists() or (PROJECT / f"{path}.example").exists()
    return there or (writer is not None and path in (PROJECT / writer).read_text())


@cache
def anchors(page: Path) -> frozenset[str]:
    """As GitHub makes them of headings."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads)


@cache
def targets() -> frozenset[str]:
    return frozenset(re.findall(r"^([a-z][a-z-]*):", (PROJECT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=by_page)
def test_every_path_that_a_page_names_is_there(page):
    assert {path for path in paths_of(page.read_text()) if not is_there(path)} == set()


@pytest.mark.parametrize("page", PAGES, ids=by_page)
def test_every_link_leads_somewhere(page):
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


@pytest.mark.parametrize("page", PAGES, ids=by_page)
def test_every_command_of_a_page_is_one_that_there_is(page):
    text = page.read_text()
    asked = re.findall(r"(?:^|`)make ([a-z][a-z-]*)", text, re.MULTILINE)
    assert set(asked) - targets() == set()
    modules = re.findall(r"python -m ((?:benchmarks|bentos|flows)(?:\.\w+)+)", text)
    files = [PROJECT / module.replace(".", "/") for module in modules]
    assert [
        str(file) for file in files if not (file.with_suffix(".py").is_file() or (file / "__main__.py").is_file())
    ] == []


@pytest.mark.parametrize("page", PAGES, ids=by_page)
def test_every_setting_that_a_page_names_is_one(page):
    known = {f"VISIONOPS_{name.upper()}" for name in Settings.model_fields}
    # What compose and the workflows take from elsewhere.
    known |= {"VISIONOPS_IMAGE", "VISIONOPS_TRAIN_IMAGE"}
    for workflow in (PROJECT / ".github" / "workflows").glob("*.yaml"):
        known |= set(re.findall(r"(?:vars|secrets)\.(VISIONOPS_\w+)", workflow.read_text()))
    text = page.read_text()
    assert set(re.findall(r"\bVISIONOPS_[A-Z][A-Z_]*[A-Z]\b(?!_)", text)) - known == set()
    sections = set(re.findall(r"\bVISIONOPS__([A-Z]+)__", text))
    assert {name.lower() for name in sections} <= set(SystemConfig.model_fields)


@pytest.mark.parametrize("page", PAGES, ids=by_page)
def test_every_key_of_a_section_that_a_page_names_is_one(page):
    """`monitor.min_window` and its like, where the section is one of a system's config."""
    wrong = []
    for dotted in re.findall(r"`([a-z_]+(?:\.[a-z0-9_]+)+)[:=`]", page.read_text()):
        section, key, *_ = dotted.split(".")
        field = SystemConfig.model_fields.get(section)
        known = getattr(field.annotation, "model_fields", None) if field else None
        if known is not None and key not in known and key not in FILES:
            wrong.append(dotted)
    assert wrong == []


def test_every_decision_has_its_number_once():
    pages = sorted((DOCS / "decisions").glob("*.md"))
    assert [page.name[:3] for page in pages] == [f"{number:03}" for number in range(1, len(pages) + 1)]
    assert [page.name for page in pages if not page.read_text().startswith(f"# {page.name[:3]}")] == []


def test_the_checks_can_fail():
    assert paths_of("`vision/gone.py` `vision/*` `systems/<s>`") == {"vision/gone.py"} and not is_there(
        "vision/gone.py"
    )
    assert {"demo", "train"} <= targets() and "gone" not in targets()
