import os

import pytest

from tasks.packaging.push_image import check_registry, push_image
from vision.errors import MachineError, UserError

DIGEST = f"sha256:{'c' * 64}"


@pytest.fixture
def builder(tmp_path):
    """`builder(name, text)`: a program of that name; `$log` keeps its words."""

    def put(name: str, text: str) -> tuple[str, ...]:
        program = tmp_path / name
        program.write_text(f'#!{os.path.realpath("/bin/sh")}\necho "$@" >> {tmp_path}/log\n{text}\n')
        program.chmod(0o755)
        return (str(program),)

    return put


def test_buildah_and_podman_tell_the_digest_in_a_file(builder, tmp_path):
    command = builder("buildah", f'echo {DIGEST} > "$3"')
    assert push_image(command, "visionops_a:v1", "ghcr.io/team") == f"ghcr.io/team/visionops_a@{DIGEST}"
    assert (tmp_path / "log").read_text().endswith("visionops_a:v1 docker://ghcr.io/team/visionops_a:v1\n")


def test_docker_tells_it_of_the_registry_that_was_meant(builder):
    known = f'["elsewhere.io/visionops_a@sha256:{"d" * 64}","host:5000/visionops_a@{DIGEST}"]'
    command = builder("docker", f"if [ \"$1\" = image ]; then echo '{known}'; fi")
    assert push_image(command, "visionops_a:v1", "host:5000") == f"host:5000/visionops_a@{DIGEST}"


def test_a_push_that_fails_and_a_registry_that_is_none_are_told(builder):
    with pytest.raises(MachineError, match="denied: no login"):
        push_image(builder("podman", "echo denied: no login >&2; exit 125"), "visionops_a:v1", "ghcr.io/team")
    for wrong in ("https://ghcr.io/team", "GHCR.io", "a b", ""):
        with pytest.raises(UserError, match="REGISTRY="):
            check_registry(wrong)
