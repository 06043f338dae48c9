import pytest
from filelock import FileLock

from tasks.packaging.build_bento import _scratch


def test_a_build_removes_what_killed_builds_left_and_nothing_of_one_that_runs(tmp_path):
    left, running = tmp_path / "building" / "visionops_a-v1", tmp_path / "building" / "visionops_b-v2"
    for folder in (left, running):
        (folder / "context").mkdir(parents=True)
    with FileLock(f"{running}.lock"), _scratch(tmp_path, "visionops_c:v3") as folder:
        assert folder.is_dir() and not left.exists() and (running / "context").is_dir()
    assert not folder.exists()


def test_a_build_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), _scratch(tmp_path, "visionops_a:v1") as folder:
        (folder / "half").write_text(str(1 / 0))
    assert not folder.exists()
