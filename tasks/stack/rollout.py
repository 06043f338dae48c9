"""An image into a cluster, by its digest: an overlay's manifests with that image, applied, waited for, or taken back."""

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from vision.errors import MachineError, UserError
from vision.lineage import PROJECT

FOLDER = PROJECT / "deploy" / "kubernetes"
IMAGE = re.compile(r"(?P<name>[a-z0-9][a-z0-9._:/-]*)@(?P<digest>sha256:[0-9a-f]{64})")
DEPLOYMENT = "deployment/visionops-service"
READY_S = 600


@dataclass(frozen=True)
class Overlay:
    """`staging` or `production`."""

    name: str

    @property
    def folder(self) -> Path:
        return FOLDER / "overlays" / self.name

    @property
    def namespace(self) -> str:
        return yaml.safe_load((self.folder / "kustomization.yaml").read_text())["namespace"]


def overlay(name: str) -> Overlay:
    """Raises `UserError` for one that is not there."""
    known = sorted(path.name for path in (FOLDER / "overlays").iterdir())
    if name not in known:
        raise UserError(f"OVERLAY={name}", f"one of {', '.join(known)}", "correct it")
    return Overlay(name)


def manifests(into: Overlay, image: str) -> str:
    """The overlay's objects as YAML, the service's image being `image`. Raises `UserError` for one without a digest."""
    given = IMAGE.fullmatch(image)
    if given is None:
        raise UserError(f"IMAGE={image}", "registry/name@sha256:…, as `make image REGISTRY=…` prints it", "correct it")
    known = yaml.safe_load((FOLDER / "base" / "kustomization.yaml").read_text())["images"]
    ours = next(one["newName"] for one in known if one["name"] == "visionops-service")
    with tempfile.TemporaryDirectory(prefix="visionops-rollout-") as folder:
        # Kustomize takes a folder by a relative path alone.
        own = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [os.path.relpath(into.folder, Path(folder).resolve())],
            "images": [{"name": ours, "newName": given["name"], "digest": given["digest"]}],
        }
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(own))
        return kubectl("kustomize", folder)


def roll_out(into: Overlay, image: str) -> None:
    """Returns once the new pods are ready. One that doesn't get ready is taken back, and `MachineError` says so."""
    kubectl("apply", "-f", "-", given=manifests(into, image))
    try:
        wait(into)
    except MachineError as error:
        undo(into)
        raise MachineError(
            f"{image} did not get ready in {into.namespace} and was taken back: {error.got}",
            f"pods that are ready in {READY_S} s",
            f"kubectl -n {into.namespace} describe pods; then roll out again",
        ) from error


def undo(into: Overlay) -> None:
    """What ran before runs again."""
    kubectl("-n", into.namespace, "rollout", "undo", DEPLOYMENT)
    wait(into)


def wait(into: Overlay) -> None:
    kubectl("-n", into.namespace, "rollout", "status", DEPLOYMENT, f"--timeout={READY_S}s")


def kubectl(*words: str, given: str | None = None) -> str:
    """Its output. Raises `MachineError` with its last words."""
    if shutil.which("kubectl") is None:
        raise MachineError("kubectl is not installed", "kubectl, with access to a cluster (KUBECONFIG)", "install it")
    done = subprocess.run(("kubectl", *words), input=given or "", capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MachineError(
            f"`kubectl {' '.join(words[:4])}` ended with code {done.returncode}: {done.stderr.strip()[-300:]}",
            "a cluster that takes it",
            "look at KUBECONFIG and at what it says",
        )
    return done.stdout
