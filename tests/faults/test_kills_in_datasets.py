"""What a kill inside git or DVC leaves in the data sets' repository does not block the next ingest."""

import json
import os

import pytest
import yaml

from tasks.data.datasets import add_version, git

LEFT = {
    "git's index.lock": lambda repo: (repo / ".git" / "index.lock").write_text(""),
    "git's lock of the branch": lambda repo: (repo / ".git" / "refs" / "heads" / "main.lock").write_text(""),
    "git init half done": lambda repo: (repo / ".git" / "HEAD").unlink(),
    "dvc init half done": lambda repo: (repo / ".dvc" / "config").unlink(),
    "DVC's rwlock with a process id that another process has now": lambda repo: rwlock(repo, os.getppid()),
    "DVC's rwlock half written": lambda repo: (repo / ".dvc" / "tmp" / "rwlock").write_text('{"write": {"/a'),
    "DVC's config empty": lambda repo: (repo / ".dvc" / "config").write_text(""),
    "the pointer empty": lambda repo: (repo / "leaves.dvc").write_text(""),
    "the pointer half written": lambda repo: (repo / "leaves.dvc").write_text("outs:\n- md5: 0f00b3"),
}


def rwlock(repo, pid):
    lock = {"write": {str(repo / "leaves"): {"pid": pid, "cmd": "dvc add"}}, "read": {}}
    (repo / ".dvc" / "tmp" / "rwlock").write_text(json.dumps(lock))


@pytest.mark.parametrize("given", LEFT)
def test_what_a_kill_leaves_in_the_repository_does_not_block_the_next(given, tmp_path, fault):
    repo = tmp_path / "datasets"
    (repo / "leaves").mkdir(parents=True)
    (repo / "leaves" / "a.txt").write_text("a")
    first = add_version(repo, "leaves", str(tmp_path / "remote"))
    LEFT[given](repo)
    (repo / "leaves" / "b.txt").write_text("b")
    second = add_version(repo, "leaves", str(tmp_path / "remote"))
    assert second["files"] == 2 and second["dvc_md5"] != first["dvc_md5"]
    assert yaml.safe_load((repo / "leaves.dvc").read_text())["outs"][0]["md5"] == second["dvc_md5"]
    assert git(repo, "rev-parse", "HEAD") == second["commit"] and git(repo, "status", "--porcelain") == ""
    fault.saw(
        "Kills", f"SIGKILL in ingest left {given}", exit="–", says="nothing: it is cleared up",
        kept="the images and every version; the next ingest commits its own",
    )  # fmt: skip
