"""A base image that Debian's packages make: no image registry is reached."""

import os
import shutil

import pytest

from tests.system.podman import BASE, CERTIFICATES, PODMAN, run

PACKAGES = "python3.11,python3.11-venv,ca-certificates"
TOOLS = ("buildah", "podman", "runc", "debootstrap")


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> str:
    """Debian with its own Python 3.11, as python:3.11-slim is; made once, then kept in the machine's image store.

    Skips where the tools are not here: apt-get install podman buildah runc debootstrap, and root.
    """
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing or os.getuid() != 0:
        pytest.skip(f"needs root, and {', '.join(missing) or 'has the tools'}")
    if BASE not in run(*PODMAN, "images", "--format", "{{.Repository}}:{{.Tag}}"):
        root = tmp_path_factory.mktemp("debian")
        run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(root), timeout_s=1200)
        for folder in ("var/cache/apt/archives", "var/lib/apt/lists"):
            shutil.rmtree(root / folder)
        # A machine behind a proxy of its own trusts other certificates than Debian.
        shutil.copyfile(CERTIFICATES, root / CERTIFICATES.relative_to("/"))
        packed = root.with_suffix(".tar")
        run("tar", "-C", str(root), "-cf", str(packed), ".")
        run(*PODMAN, "import", str(packed), BASE)
    return BASE
