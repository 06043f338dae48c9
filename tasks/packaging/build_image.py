"""Builds the container image of a bento with whichever builder this machine has: docker, podman or buildah."""

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vision.errors import MachineError, UserError

Target = Literal["cpu", "gpu"]
BUILDERS = ("docker", "podman", "buildah")
ANSWER_S = 30
DOCKERFILE = "deploy/image/Dockerfile"
REQUIREMENTS = {"requirements.txt": "requirements.serve.lock", "requirements.gpu.txt": "requirements.gpu.lock"}
LABELS = "org.visionops."
SKIPPED = shutil.ignore_patterns("__pycache__", "*.pyc", "env", "README.md")
"""Of a bento: its own Dockerfile keeps a compiler in the image."""


@dataclass(frozen=True)
class ImagePlan:
    """What is built, and how. builder: its command with its own options; arguments: of its `build`.

    base: image to build on, of Python 3.11 with pip's `ensurepip`; "" as the Dockerfile says. pip_config: a pip.conf
    (index, password) that the build reads and the image does not keep.
    """

    tag: str
    builder: tuple[str, ...]
    target: Target = "cpu"
    arguments: tuple[str, ...] = ()
    base: str = ""
    pip_config: Path | None = None


def image_tag(bento: str, target: Target) -> str:
    """bento: `visionops_<system>:v<N>`."""
    return bento if target == "cpu" else f"{bento}-{target}"


def find_builder(wanted: str = "") -> tuple[str, ...]:
    """The first builder that answers. wanted: one by name, with its own options (`buildah --storage-driver vfs`).

    Raises `UserError` for one that is not known, `MachineError` where none can build.
    """
    asked = [tuple(shlex.split(wanted))] if wanted.strip() else [(name,) for name in BUILDERS]
    if asked[0][0].rpartition("/")[2] not in BUILDERS:
        raise UserError(f"BUILDER={wanted}", f"one of {', '.join(BUILDERS)}, with its options", "correct it")
    why = []
    for command in asked:
        fault = _fault(command)
        if fault is None:
            return command
        why.append(f"{command[0]}: {fault}")
    raise MachineError(
        f"no container image can be built here ({'; '.join(why)})",
        f"one of {', '.join(BUILDERS)}, installed and running",
        "install one (Debian: apt-get install buildah), or start Docker; without one `make serve` serves the same",
    )


def _fault(command: Sequence[str]) -> str | None:
    """Why this builder can't build; None where it can."""
    if shutil.which(command[0]) is None:
        return "not installed"
    try:
        done = subprocess.run(
            (*command, "info"), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=ANSWER_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {ANSWER_S} s"
    if done.returncode == 0:
        return None
    said = (done.stderr or done.stdout).strip().splitlines()
    return said[-1][:200] if said else f"`info` ended with code {done.returncode}"


def build_image(plan: ImagePlan, bento: Path, labels: Mapping[str, str], project: Path) -> str:
    """Builds the image of the bento in the folder `bento` and returns its size as the builder tells it (`310 MB`).

    The builder's own words go to the terminal. project: where the Dockerfile and the locks lie. Raises `MachineError`.
    """
    with tempfile.TemporaryDirectory(prefix="visionops-image-") as folder:
        context = Path(folder)
        shutil.copytree(bento, context / "bento", ignore=SKIPPED)
        for name, lock in REQUIREMENTS.items():
            shutil.copyfile(project / lock, context / name)
        command = build_command(plan, context, labels, project / DOCKERFILE)
        done = subprocess.run(command, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise MachineError(
            f"`{shlex.join(plan.builder)}` ended with code {done.returncode} building {plan.tag}; its words stand above",
            "a build that ends with code 0",
            "mend what it names: a base image or an index that can't be reached wants BASE=… or PIP_CONFIG=…",
        )
    return image_size(plan.builder, plan.tag)


def build_command(plan: ImagePlan, context: Path, labels: Mapping[str, str], dockerfile: Path) -> list[str]:
    """`--format docker` where a builder has a choice: the other format has no health check."""
    command = [*plan.builder, "build", "--file", str(dockerfile), "--tag", plan.tag, "--target", plan.target]
    if plan.builder[0].rpartition("/")[2] != "docker":
        command += ["--format", "docker"]
    if plan.base:
        command += ["--build-arg", f"BASE={plan.base}"]
    if plan.pip_config:
        command += ["--secret", f"id=pip,src={plan.pip_config.absolute()}"]
    for key, value in sorted(labels.items()):
        command += ["--label", f"{LABELS}{key}={value}"]
    return [*command, *plan.arguments, str(context)]


def image_size(builder: Sequence[str], tag: str) -> str:
    done = subprocess.run(
        (*builder, "images", "--format", "{{.Size}}", tag),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=ANSWER_S, check=True,
    )  # fmt: skip
    return done.stdout.strip().splitlines()[0]
