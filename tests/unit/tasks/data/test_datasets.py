import shutil

import pytest

from tasks.data.datasets import add_version, full_commit, get_version, git
from vision.errors import UserError


@pytest.fixture
def repo(tmp_path):
    folder = tmp_path / "datasets"
    (folder / "leaf" / "images").mkdir(parents=True)
    (folder / "leaf" / "images" / "a.jpg").write_bytes(b"one")
    return folder


def test_the_same_content_is_the_same_version(repo, tmp_path):
    first = add_version(repo, "leaf", str(tmp_path / "remote"))
    second = add_version(repo, "leaf", str(tmp_path / "remote"))
    assert first == second and first["files"] == 1 and first["dvc_md5"].endswith(".dir")
    assert len(git(repo, "log", "--format=%h").splitlines()) == 1


def test_a_changed_file_is_another_version_and_the_old_one_comes_back(repo, tmp_path):
    first = add_version(repo, "leaf", str(tmp_path / "remote"))
    (repo / "leaf" / "images" / "a.jpg").unlink()
    (repo / "leaf" / "images" / "a.jpg").write_bytes(b"two")
    second = add_version(repo, "leaf", str(tmp_path / "remote"))
    assert first["dvc_md5"] != second["dvc_md5"] and first["commit"] != second["commit"]
    got = get_version(repo, "leaf", first["commit"][:10], tmp_path / "out")
    assert got == first and (tmp_path / "out" / "images" / "a.jpg").read_bytes() == b"one"


def test_versions_are_pushed_to_the_remote(repo, tmp_path):
    add_version(repo, "leaf", str(tmp_path / "remote"))
    stored = [path.read_bytes() for path in (tmp_path / "remote").rglob("*") if path.is_file()]
    assert b"one" in stored


def test_an_unknown_version_is_refused_with_those_there_are(repo, tmp_path):
    add_version(repo, "leaf", str(tmp_path / "remote"))
    with pytest.raises(UserError, match="no data version abc123") as error:
        get_version(repo, "leaf", "abc123", tmp_path / "out")
    assert "leaf: 1 files" in error.value.allowed


def test_a_lock_that_a_killed_git_left_does_not_stop_the_next_version(repo, tmp_path):
    first = add_version(repo, "leaf", str(tmp_path / "remote"))
    (repo / ".git" / "index.lock").touch()
    (repo / "leaf" / "images" / "b.jpg").write_bytes(b"two")
    assert add_version(repo, "leaf", str(tmp_path / "remote"))["commit"] != first["commit"]


def test_the_remotes_address_is_not_committed_and_brings_a_version_whose_cache_is_gone(repo, tmp_path):
    first = add_version(repo, "leaf", str(tmp_path / "s3cret"))
    assert "s3cret" not in git(repo, "log", "-p", "--all") and not git(repo, "status", "--porcelain", ".dvc")
    shutil.rmtree(repo / ".dvc" / "cache")
    get_version(repo, "leaf", first["commit"], tmp_path / "out")
    assert (tmp_path / "out" / "images" / "a.jpg").read_bytes() == b"one"


@pytest.mark.parametrize("commit", ["../..", "/", "..", "-x"])
def test_a_path_is_no_commit_so_no_folder_is_emptied_for_one(repo, tmp_path, commit):
    add_version(repo, "leaf", str(tmp_path / "remote"))
    with pytest.raises(UserError, match="no data version"):
        full_commit(repo, "leaf", commit)
