"""Runs the container tools without an engine: no bridge, no image registry, no systemd."""

import io
import shlex
import subprocess
import tarfile
from pathlib import Path

BASE = "localhost/visionops-base:bookworm"
BUILDER = ("buildah", "--storage-driver", "vfs")
BUILD = ("--layers", "--isolation", "chroot", "--network", "host")
PODMAN = ("podman", "--storage-driver", "vfs", "--runtime", "runc")
RUN = ("--network", "host", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
UID = 1034


def run(*command: str, timeout_s: float = 300) -> str:
    """What it prints; fails the test with all its words when it ends badly."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def run_command(image: str, volume: Path | None, *more: str) -> list[str]:
    """As in production: nothing of the image can be written, state lies in a volume."""
    mounts = ["--volume", f"{volume}:/var/lib/visionops"] if volume else []
    return [*PODMAN, "run", *RUN, "--read-only", "--tmpfs", "/tmp", *mounts, *more, image]


def files_of(image: str) -> set[str]:
    """Every path in an image."""
    name = run(*PODMAN, "create", image).strip()
    try:
        packed = subprocess.run((*PODMAN, "export", name), capture_output=True, check=True, timeout=300).stdout
    finally:
        run(*PODMAN, "rm", name)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        return set(archive.getnames())
