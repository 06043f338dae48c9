"""Which builder is taken, what it is told, and what is said where there is none. The build itself: tests/system."""

import os
import re
import subprocess
import sys
import typing
from pathlib import Path
from types import SimpleNamespace

import pytest

from flows.build_image import bento_of_champion, main
from tasks.packaging.build_image import DOCKERFILE, ImagePlan, build_command, find_builder, image_tag
from vision.edge import FAULT, MISTAKE
from vision.errors import MachineError, UserError
from vision.kinds import Kind

PROJECT = Path(__file__).resolve().parents[4]


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A PATH of our own: `path(docker=1, podman=0)` puts programs there whose `info` ends with that code."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def put(**codes: int) -> None:
        for name, code in codes.items():
            program = tmp_path / name
            program.write_text(f"#!{os.path.realpath('/bin/sh')}\necho {name} says no >&2\nexit {code}\n")
            program.chmod(0o755)

    return put


def test_the_first_builder_that_answers_is_taken(path):
    path(docker=1, podman=0, buildah=0)
    assert find_builder() == ("podman",)
    assert find_builder("buildah --storage-driver vfs") == ("buildah", "--storage-driver", "vfs")


def test_without_a_builder_it_is_said_what_each_lacks(path):
    path(docker=1)
    with pytest.raises(MachineError) as raised:
        find_builder()
    assert "docker: docker says no; podman: not installed; buildah: not installed" in str(raised.value)
    assert "make serve" in str(raised.value)


def test_the_command_says_so_at_once_and_ends_with_1(path, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VISIONOPS_STATE", str(tmp_path / "state"))
    assert main(["--system", "quickstart"]) == FAULT
    assert "no container image can be built here" in capsys.readouterr().err
    path(podman=0)
    assert main(["--pip-config", str(tmp_path / "no")]) == MISTAKE
    assert "is not there" in capsys.readouterr().err


def test_a_system_without_a_champion_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("flows.build_image.open_champion", lambda run: None)
    run = SimpleNamespace(config=SimpleNamespace(system="quickstart"))
    with pytest.raises(UserError, match="make train SYSTEM=quickstart"):
        bento_of_champion(run, tmp_path)


def test_a_builder_that_nobody_knows_is_a_mistake(path):
    with pytest.raises(UserError, match="docker, podman, buildah"):
        find_builder("kaniko")


def test_a_secret_goes_to_the_build_by_file_and_labels_tell_what_is_inside(tmp_path):
    plan = ImagePlan("a:v1", ("buildah",), "gpu", ("--network", "host"), "base:1", tmp_path / "pip.conf")
    words = build_command(plan, tmp_path, {"package_sha": "abc"}, PROJECT / DOCKERFILE)
    assert words[:2] == ["buildah", "build"] and words[-1] == str(tmp_path)
    text = " ".join(words)
    assert f"--secret id=pip,src={tmp_path}/pip.conf" in text and "--format docker" in text
    assert "--target gpu" in text and "BASE=base:1" in text and "--label org.visionops.package_sha=abc" in text
    assert "--format" not in build_command(ImagePlan("a:v1", ("docker",)), tmp_path, {}, PROJECT / DOCKERFILE)
    assert image_tag("visionops_a:v1", "gpu") == "visionops_a:v1-gpu"


def test_the_dockerfile_has_both_targets_and_builds_the_one_without_torch_by_default():
    text = (PROJECT / DOCKERFILE).read_text()
    stages = re.findall(r"^FROM \S+ AS (\S+)", text, re.MULTILINE)
    assert {"cpu", "gpu"} <= set(stages) and stages[-1] == "cpu"
    last = text.rpartition("FROM ")[2]
    assert "gpu" not in last
    assert re.search(r"^USER \d+$", text, re.MULTILINE) and "HEALTHCHECK" in text


WITHOUT = """
import importlib, pkgutil, sys
for name in {absent!r}:
    sys.modules[name] = None
import bentos, vision.kinds
for module in pkgutil.walk_packages(bentos.__path__, "bentos."):
    if module.name not in ("bentos.engines.torch", "bentos.access.__main__"):
        importlib.import_module(module.name)
for kind in {kinds!r}:
    vision.kinds.answering(kind)
"""


def test_the_service_imports_nothing_that_the_image_leaves_out():
    absent = re.search(r"uninstall -q -y (.*?) \\", (PROJECT / DOCKERFILE).read_text())[1].split()
    assert {"pandas", "pyarrow"} <= set(absent)
    code = WITHOUT.format(absent=absent, kinds=typing.get_args(Kind))
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
