"""Pushes a built image to a registry, and tells the digest under which it lies there: a tag can be moved, a digest can't."""

import json
import re
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from vision.errors import MachineError, UserError

REGISTRY = re.compile(r"[a-z0-9]+([._:/-][a-z0-9]+)*")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def check_registry(registry: str) -> str:
    """`ghcr.io/team`, without the image's name. Raises `UserError`."""
    if not REGISTRY.fullmatch(registry):
        raise UserError(f"REGISTRY={registry}", "host[:port][/path] in small letters, without https://", "correct it")
    return registry


def push_image(builder: Sequence[str], tag: str, registry: str) -> str:
    """`<registry>/<name>@sha256:…`. The builder has logged in before (`docker login`). Raises `MachineError`."""
    name = f"{registry}/{tag}"
    repository = name.rpartition(":")[0]
    with tempfile.TemporaryDirectory(prefix="visionops-push-") as folder:
        digest_file = Path(folder) / "digest"
        for command in push_commands(builder, tag, name, digest_file):
            _run([*builder, *command], name)
        found = digest_file.read_text() if digest_file.is_file() else _docker_digest(builder, name, repository)
    if not DIGEST.fullmatch(found.strip()):
        raise MachineError(f"{name} was pushed, its digest is not known: {found[:80]!r}", "sha256:…", "look there")
    return f"{repository}@{found.strip()}"


def push_commands(builder: Sequence[str], tag: str, name: str, digest_file: Path) -> list[list[str]]:
    """Docker pushes what bears the registry's name; podman and buildah take source and target."""
    if builder[0].rpartition("/")[2] == "docker":
        return [["tag", tag, name], ["push", name]]
    return [["push", "--digestfile", str(digest_file), tag, f"docker://{name}"]]


def _docker_digest(builder: Sequence[str], name: str, repository: str) -> str:
    said = _run([*builder, "image", "inspect", "--format", "{{json .RepoDigests}}", name], name)
    known = [one.rpartition("@")[2] for one in json.loads(said) if one.startswith(f"{repository}@")]
    return known[0] if known else ""


def _run(command: Sequence[str], name: str) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MachineError(
            f"{name} could not be pushed: `{shlex.join(command[:3])} …`: {(done.stderr or done.stdout).strip()[-300:]}",
            "a registry that takes it",
            "log in first (docker login), or correct REGISTRY",
        )
    return done.stdout
