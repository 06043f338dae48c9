"""A version of the data as DVC stores it, read without DVC: a listing named by its MD5, and files named by theirs.

The layout is DVC 3's: `files/md5/<first two digits>/<the rest>`, in its cache and in a remote that is a folder.
"""

import hashlib
import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

CACHE = Path(".dvc") / "cache"


def stored(stores: Sequence[Path], md5: str) -> Path | None:
    """The file with this MD5 (`<32 digits>` or `<32 digits>.dir`) in the first of the stores that has it."""
    places = (store / "files" / "md5" / md5[:2] / md5[2:] for store in stores)
    return next((path for path in places if path.is_file()), None)


def read_listing(stores: Sequence[Path], dvc_md5: str) -> dict[str, str] | None:
    """Path -> MD5 of the files of a version; None where no store has its listing."""
    path = stored(stores, dvc_md5)
    return None if path is None else {row["relpath"]: row["md5"] for row in json.loads(path.read_bytes())}


def md5_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def committed_md5(repo: Path, commit: str, name: str) -> str | None:
    """What the pointer of data set `name` says at a commit; None where the repository has no such commit."""
    command = ["git", "-C", str(repo), "show", f"{commit}:{name}.dvc"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    return yaml.safe_load(shown.stdout)["outs"][0]["md5"] if shown.returncode == 0 else None


def versions(repo: Path, name: str) -> Iterator[tuple[str, str, str]]:
    """(commit, time, MD5) of each version of data set `name`, the oldest first."""
    command = ["git", "-C", str(repo), "log", "--reverse", "--format=%H %cI", "--", f"{name}.dvc"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    for line in shown.stdout.splitlines() if shown.returncode == 0 else ():
        commit, at = line.split(" ", 1)
        md5 = committed_md5(repo, commit, name)
        if md5 is not None:
            yield commit, at, md5
