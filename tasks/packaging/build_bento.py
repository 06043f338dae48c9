"""Builds the bento of a registered version: code, package and release 0 in one immutable image source."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml
from filelock import FileLock, Timeout

from vision.errors import MachineError, UserError
from vision.lineage import sha256_json
from vision.package import Package, open_package, sha256_file
from vision.release import RELEASE, ReleasedModel, first_release

BENTOFILE = "bentofile.yaml"
FOLDERS = ("bentos", "vision", "configs", "web")
FILES = (BENTOFILE, "requirements.serve.lock")
PACKAGE = "package"
BUILD_TIMEOUT_S = 300
SKIPPED = shutil.ignore_patterns("__pycache__", "*.pyc")


def bento_tag(system: str, version: int) -> str:
    return f"visionops_{system}:v{version}"


def build_bento(
    package_folder: Path, system: str, version: int, project: Path, labels: Mapping[str, str], home: Path
) -> str:
    """Builds `visionops_<system>:v<version>` into the bento store `home` (BENTOML_HOME) and returns its tag.

    project: the folder of bentofile.yaml. labels: further labels, for lineage. A bento of the same package and code is
    kept; one of the same package and older code is replaced.
    Raises `UserError` when the tag belongs to another package, `MachineError` when the build fails.
    """
    package = open_package(package_folder)
    tag = bento_tag(system, version)
    wanted = {**labels, "package_sha": package.package_sha, "source_sha": source_sha(project)}
    with _scratch(home, tag) as folder, _context(folder) as context:
        found = stored_labels(home, tag)
        if found is not None and found.get("package_sha") != package.package_sha:
            raise _taken(tag, home, found, package)
        if found is not None and found.get("source_sha") == wanted["source_sha"]:
            return tag
        own_home = folder / "home"
        _lay_out(context, project, package, version)
        _bentoml(["build", str(context), *_options(tag, wanted)], own_home, context)
        _publish(bento_folder(own_home, tag), bento_folder(home, tag), folder / "old")
    return tag


@contextmanager
def _scratch(home: Path, tag: str) -> Iterator[Path]:
    """An empty folder on the store's disk, one builder of a tag at a time; a killed build's leavings go first.

    BentoML copies file by file into its store, so a killed copy would look like a bento: ours is built in a store of
    its own and renamed into `home`.
    """
    folder = home / "building" / tag.replace(":", "-")
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_leavings(folder.parent)
    with FileLock(f"{folder}.lock"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _context(scratch: Path) -> Iterator[Path]:
    """An empty folder to build from, outside the store: BentoML refuses one under a hidden folder, as `.visionops` is.

    Its name goes by `scratch`, whose lock we hold, so that the next build of the tag finds what a killed one left.
    """
    name = f"visionops-build-{os.getuid()}-{sha256_json(str(scratch.resolve()))[:16]}"
    folder = Path(tempfile.gettempdir()) / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_leavings(building: Path) -> None:
    """What killed builds left, also of tags that nobody asks for again. A build that runs holds its lock."""
    for folder in building.iterdir():
        if folder.is_dir():
            with suppress(Timeout), FileLock(f"{folder}.lock", timeout=0):
                shutil.rmtree(folder, ignore_errors=True)


def _publish(built: Path, target: Path, old: Path) -> None:
    """Two renames, where a bento is replaced. BentoML finds out anew which version is its latest."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        target.rename(old)
    built.rename(target)
    (target.parent / "latest").unlink(missing_ok=True)


def bento_folder(home: Path, tag: str) -> Path:
    return home / "bentos" / tag.replace(":", "/")


def stored_labels(home: Path, tag: str) -> dict[str, str] | None:
    """Labels of a bento that is in the store, None where it isn't."""
    path = bento_folder(home, tag) / "bento.yaml"
    return (yaml.safe_load(path.read_text()).get("labels") or {}) if path.is_file() else None


def source_sha(project: Path) -> str:
    """Hash of all that a bento takes from the project."""
    files = [project / name for name in FILES]
    for folder in FOLDERS:
        files += [path for path in (project / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return sha256_json({path.relative_to(project).as_posix(): sha256_file(path) for path in sorted(files)})


def _lay_out(context: Path, project: Path, package: Package, version: int) -> None:
    """The build context: a copy, because what BentoML finds beside the code goes into the bento."""
    for name in FILES:
        shutil.copyfile(project / name, context / name)
    for folder in FOLDERS:
        if (project / folder).is_dir():
            shutil.copytree(project / folder, context / folder, ignore=SKIPPED)
    shutil.copytree(package.folder, context / PACKAGE)
    champion = ReleasedModel(version=version, package_sha=package.package_sha, uri=PACKAGE)
    (context / RELEASE).write_text(first_release(champion, "bento").model_dump_json(indent=1))


def _options(tag: str, labels: Mapping[str, str]) -> list[str]:
    name, version = tag.split(":")
    options = ["--name", name, "--version", version, "--output", "tag"]
    for key, value in sorted(labels.items()):
        options += ["--label", f"{key}={value}"]
    return options


def _bentoml(arguments: list[str], home: Path, cwd: Path) -> None:
    """Runs BentoML in a process of its own, because a build imports the copy's modules.

    BentoML looks for `uv` on the PATH; it lies beside our Python.
    """
    home.mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "BENTOML_HOME": str(home.absolute()), "BENTOML_DO_NOT_TRACK": "True", "PATH": path}
    command = [sys.executable, "-m", "bentoml", *arguments]
    try:
        done = subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise MachineError(
            f"`bentoml {arguments[0]}` did not end in {BUILD_TIMEOUT_S} s",
            "a build within that time",
            "look at what else the machine does, then run it again",
        ) from None
    if done.returncode != 0:
        raise MachineError(
            f"`bentoml {arguments[0]}` failed: {(done.stderr or done.stdout).strip()[-2000:]}",
            "a build that ends with code 0",
            "mend what the message names; BENTOML_HOME must be writable",
        )


def _taken(tag: str, home: Path, found: Mapping[str, str], package: Package) -> UserError:
    return UserError(
        f"{tag} in {home} carries package {found.get('package_sha', 'unknown')[:12]}, not {package.package_sha[:12]}",
        "one package for each version of a system",
        f"use another BENTOML_HOME, or remove the old one: bentoml delete {tag}",
    )
