"""The state folder's own git + DVC repository of data sets: versions by content, pushed to a remote."""

import io
import logging
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

from vision.errors import MachineError, UserError
from vision.machine_faults import redacted

WHY_CHARS = 200


def git(repo: Path, *words: str) -> str:
    """Runs git in the data sets' repository, with an author of its own so that a bare machine can commit."""
    author = ("-c", "user.name=VisionOps", "-c", "user.email=visionops@localhost", "-c", "commit.gpgsign=false")
    run = subprocess.run(["git", "-C", str(repo), *author, *words], capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise RuntimeError(f"git {' '.join(words)} failed in {repo}: {run.stderr.strip()}")
    return run.stdout.strip()


def open_repo(repo: Path, remote: str) -> Any:
    """The DVC repository in `repo`, made when it isn't there, with `remote` as its default remote."""
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.WARNING)  # its import sets INFO, with advice for people at a terminal
    repo.mkdir(parents=True, exist_ok=True)
    git(repo, "init", "-q", "-b", "main")  # leaves a whole repository as it is, and mends half a one
    if not (repo / ".dvc" / "config").is_file():
        Repo.init(str(repo), force=True).close()
    dvc = Repo(str(repo))
    with dvc.config.edit("repo") as config:
        config["core"].update(analytics=False, check_update=False, autostage=False, remote="storage")
        # Never links: root can write through a hard link into the cache and damage it unseen.
        config["cache"]["type"] = "reflink,copy"
        config["remote"].pop("storage", None)
    # Never committed: the address may hold a password, and it is this machine's.
    with dvc.config.edit("local") as config:
        config["remote"]["storage"] = {"url": remote}
    dvc.close()
    return Repo(str(repo))


def add_version(repo: Path, name: str, remote: str) -> dict[str, Any]:
    """Makes what lies in `repo/name` a version: DVC-added, pushed, committed.

    Returns {dvc_md5, files, commit}. The same content gives the same hash and no new commit.
    """
    with FileLock(repo.with_name(f".{repo.name}.lock")), redirect_stdout(io.StringIO()):
        _clear_up(repo, name)
        dvc = open_repo(repo, remote)
        try:
            dvc.add(str(repo / name))
            with _reaching(remote):
                dvc.push(targets=[str(repo / name)])
        finally:
            dvc.close()
        pointer = f"{name}.dvc"
        out = yaml.safe_load((repo / pointer).read_text())["outs"][0]
        git(repo, "add", pointer, ".gitignore", ".dvc/config", ".dvc/.gitignore")
        if git(repo, "status", "--porcelain", "--", pointer, ".gitignore", ".dvc"):
            git(repo, "commit", "-q", "-m", f"{name}: {out['nfiles']} files, {out['md5']}")
        return {"dvc_md5": out["md5"], "files": out["nfiles"], "commit": git(repo, "rev-parse", "HEAD")}


@contextmanager
def _reaching(remote: str) -> Iterator[None]:
    """What a store refuses or leaves unanswered, as one message: DVC passes on a bare `Forbidden`. A folder's faults are
    those of a disk, which the edge knows.
    """
    try:
        yield
    except Exception as error:
        if "://" not in remote:
            raise
        why = " ".join(redacted(str(error)).split())[:WHY_CHARS] or type(error).__name__
        raise MachineError(
            f"the data version can't be pushed to {redacted(remote)}: {why}",
            "a remote at VISIONOPS_DVC_REMOTE that is there, answers, and takes this machine's key",
            "correct the address, or the store's own settings (S3: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)",
        ) from error


def _clear_up(repo: Path, name: str) -> None:
    """The repository is ours alone and we hold its lock: any lock in it is one that a killed process left.

    DVC's rwlock names a process by its id, which may belong to another by now, and a torn one is refused for ever; so
    is a torn pointer, which the data makes again.
    """
    for lock in (*(repo / ".git").rglob("*.lock"), repo / ".dvc" / "tmp" / "rwlock"):
        lock.unlink(missing_ok=True)
    pointer = repo / f"{name}.dvc"
    if pointer.is_file() and not _is_whole(pointer):
        pointer.unlink()


def _is_whole(pointer: Path) -> bool:
    try:
        return {"md5", "path"} <= set(yaml.safe_load(pointer.read_text())["outs"][0])
    except (yaml.YAMLError, TypeError, KeyError, IndexError):
        return False


def full_commit(repo: Path, name: str, commit: str) -> str:
    """The whole hash of `commit`. Raises `UserError` for one that isn't there, or has no `name`."""
    try:
        full = git(repo, "rev-parse", "--verify", f"{commit}^{{commit}}")
        git(repo, "cat-file", "-e", f"{full}:{name}.dvc")
        return full
    except RuntimeError:
        known = git(repo, "log", "--format=%h %s", "-5", "--", f"{name}.dvc") if (repo / ".git").is_dir() else "none"
        raise UserError(f"no data version {commit} of {name}", f"a commit of {repo}:\n{known}", "name one") from None


def get_version(repo: Path, name: str, commit: str, folder: Path) -> dict[str, Any]:
    """Brings `name` as it was at `commit` into `folder` (emptied first). Returns {dvc_md5, files, commit}."""
    from dvc.repo import Repo

    full = full_commit(repo, name, commit)
    out = yaml.safe_load(git(repo, "show", f"{full}:{name}.dvc"))["outs"][0]
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with redirect_stdout(io.StringIO()):
        Repo.get(str(repo), name, out=str(folder), rev=full)
    return {"dvc_md5": out["md5"], "files": out["nfiles"], "commit": full}
