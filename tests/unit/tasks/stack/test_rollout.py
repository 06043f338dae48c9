"""An image into a cluster: kustomize is real, the cluster is a program that writes down what it is told."""

import os
import shutil
from pathlib import Path

import pytest
import yaml

from flows.roll_out import main
from tasks.stack.rollout import manifests, overlay
from vision.edge import DONE, FAULT, MISTAKE
from vision.errors import UserError

IMAGE = f"ghcr.io/team/vision/visionops_leaf@sha256:{'a' * 64}"
KUBECTL = shutil.which("kubectl")
needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="no kubectl on this machine")


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """`cluster(ready)`: kubectl of which `rollout status` ends with 1 the first time where it isn't; returns its log."""

    def put(ready: bool) -> Path:
        log, program = tmp_path / "log", tmp_path / "kubectl"
        program.write_text(
            f"#!{os.path.realpath('/bin/sh')}\n"
            f'if [ "$1" = kustomize ]; then exec {KUBECTL} "$@"; fi\n'
            f'echo "$@" >> {log}\n'
            f'case "$*" in *"rollout status"*) [ {int(ready)} = 1 ] || [ -e {tmp_path}/seen ] || {{ touch {tmp_path}/seen; '
            "echo progress deadline exceeded >&2; exit 1; }; esac\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        return log

    return put


@needs_kubectl
@pytest.mark.parametrize("name", ["staging", "production"])
def test_the_service_gets_the_image_and_nothing_else_changes(name):
    found = {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(manifests(overlay(name), IMAGE))}
    container = found[("Deployment", "visionops-service")]["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == IMAGE
    assert {one["metadata"].get("namespace") for one in found.values()} <= {overlay(name).namespace, None}
    worker = found[("Deployment", "visionops-worker")]["spec"]["template"]["spec"]["containers"][0]
    assert IMAGE not in worker["image"]


@pytest.mark.parametrize("image", ["ghcr.io/team/visionops_leaf:v1", "", "x@sha256:abc", "A B"])
def test_an_image_whose_tag_can_be_moved_is_refused(image):
    with pytest.raises(UserError, match="IMAGE="):
        manifests(overlay("staging"), image)


def test_an_overlay_that_is_not_there_is_told_with_those_that_are(capsys):
    assert main(["stagign", "--image", IMAGE]) == MISTAKE
    assert "production, staging" in capsys.readouterr().err


@needs_kubectl
def test_it_is_applied_and_waited_for(cluster, capsys):
    log = cluster(ready=True)
    assert main(["production", "--image", IMAGE]) == DONE
    said = log.read_text().splitlines()
    assert said[0] == "apply -f -" and "rollout status deployment/visionops-service" in said[1]
    assert "is ready" in capsys.readouterr().out and len(said) == 2


@needs_kubectl
def test_one_that_does_not_get_ready_is_taken_back(cluster, capsys):
    log = cluster(ready=False)
    assert main(["production", "--image", IMAGE]) == FAULT
    assert "rollout undo deployment/visionops-service" in log.read_text()
    assert "was taken back" in capsys.readouterr().err


def test_without_kubectl_it_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["staging", "--undo"]) == FAULT
    assert "kubectl is not installed" in capsys.readouterr().err
