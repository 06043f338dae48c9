import subprocess

import pytest

from vision.lineage import git_state, imported_modules, sha256_json, source_sha


@pytest.fixture
def project(tmp_path):
    (tmp_path / "vision").mkdir()
    (tmp_path / "vision" / "__init__.py").write_text("")
    (tmp_path / "vision" / "loop.py").write_text(
        "from vision.rates import rate\n\ndef f():\n    from vision import plots\n"
    )
    (tmp_path / "vision" / "rates.py").write_text("rate = 1\n")
    (tmp_path / "vision" / "plots.py").write_text("colour = 'red'\n")
    return tmp_path


def test_a_change_in_an_imported_module_changes_the_hash(project):
    before = source_sha(["vision.loop"], project)
    (project / "vision" / "rates.py").write_text("rate = 2\n")
    assert source_sha(["vision.loop"], project) != before


def test_a_change_in_what_only_a_function_imports_does_not(project):
    before = source_sha(["vision.loop"], project)
    (project / "vision" / "plots.py").write_text("colour = 'blue'\n")
    assert source_sha(["vision.loop"], project) == before
    assert source_sha(["vision.loop", "vision.plots"], project) != before


def test_a_root_without_a_file_is_an_error(project):
    with pytest.raises(ModuleNotFoundError, match=r"vision\.gone"):
        source_sha(["vision.gone"], project)


def test_only_our_modules_count(project):
    path = project / "vision" / "loop.py"
    path.write_text("import numpy\nimport configs.load\nfrom vision.rates import rate\n")
    assert imported_modules(path.read_text()) == {"configs.load", "vision.rates", "vision.rates.rate"}


def test_json_hash_ignores_the_order_of_keys():
    assert sha256_json({"a": 1, "b": 2}) == sha256_json({"b": 2, "a": 1}) != sha256_json({"a": 1, "b": 3})


def test_git_state_outside_a_checkout_is_none(tmp_path):
    assert git_state(tmp_path) == {"commit": None, "dirty": None}


def test_git_state_sees_an_uncommitted_change(tmp_path):
    for words in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    assert git_state(tmp_path)["dirty"] is False
    (tmp_path / "new").write_text("x")
    assert git_state(tmp_path)["dirty"] is True
