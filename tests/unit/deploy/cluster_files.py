"""deploy/kubernetes as its tests read it."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import yaml

PROJECT = Path(__file__).resolve().parents[3]
FOLDER = PROJECT / "deploy" / "kubernetes"
DOCKERFILE = (PROJECT / "deploy" / "image" / "Dockerfile").read_text()
OVERLAYS = ("staging", "production")
CUSTOM = {"ScaledObject", "RayCluster", "Kustomization", "Component"}
KUBECTL, PROMTOOL = shutil.which("kubectl"), shutil.which("promtool")


def base() -> dict[tuple[str, str], dict]:
    found = {}
    for path in sorted(FOLDER.rglob("*.yaml")):
        if path.parent.name in ("base", "cpu-only") and path.name not in ("kustomization.yaml", "kustomizeconfig.yaml"):
            for one in yaml.safe_load_all(path.read_text()):
                found[(one["kind"], one["metadata"]["name"])] = one
    return found


def built(folder: Path) -> dict[tuple[str, str], dict]:
    done = subprocess.run([KUBECTL, "kustomize", str(folder)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(done.stdout)}


def check(one: dict) -> None:
    version = kubernetes_validate.latest_version()
    kubernetes_validate.validate(one, version, strict=True)


def literals() -> dict[str, dict[str, str]]:
    generated = yaml.safe_load((FOLDER / "base" / "kustomization.yaml").read_text())["configMapGenerator"]
    return {one["name"]: dict(line.split("=", 1) for line in one.get("literals", ())) for one in generated}


def service() -> dict:
    return base()[("Deployment", "visionops-service")]


def container() -> dict:
    return service()["spec"]["template"]["spec"]["containers"][0]


def job() -> dict:
    """What the pool starts for a flow, with its variables filled in."""
    template = json.loads((FOLDER / "base" / "job-template.json").read_text())
    manifest = json.dumps(template["job_configuration"]["job_manifest"])
    values = {name: one.get("default", "prefect") for name, one in template["variables"]["properties"].items()}
    asked = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(template["job_configuration"])))
    assert asked <= set(values)
    for name, value in values.items():
        whole = {"env": [], "command": ["prefect"], "labels": {}}.get(name, value)
        manifest = manifest.replace(f'"{{{{ {name} }}}}"', json.dumps(whole))
        manifest = manifest.replace(f"{{{{ {name} }}}}", str(value))
    filled = json.loads(manifest)
    for name in ("parallelism", "completions"):  # Prefect wants them where Kubernetes knows none, and ignores them
        assert filled["spec"]["template"]["spec"].pop(name) == 1
    return filled


def pods() -> list[dict]:
    deployments = [one["spec"]["template"] for (kind, _), one in base().items() if kind == "Deployment"]
    ray = base()[("RayCluster", "visionops-ray")]["spec"]
    nodes = [ray["headGroupSpec"]["template"], *(group["template"] for group in ray["workerGroupSpecs"])]
    return [*deployments, *nodes, job()["spec"]["template"]]
