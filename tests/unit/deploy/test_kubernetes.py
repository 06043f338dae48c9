"""The cluster files: what Kubernetes takes, and held to the code: settings, ports, paths, probes, metrics."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from bentos.access.scopes import OPEN, SCOPES
from bentos.metrics.names import METRICS, PREFIX
from configs.load import load_system, settings
from configs.serving import ServingConfig
from tests.unit.deploy.cluster_files import (
    CUSTOM,
    DOCKERFILE,
    FOLDER,
    KUBECTL,
    OVERLAYS,
    PROJECT,
    PROMTOOL,
    base,
    built,
    check,
    container,
    job,
    literals,
    pods,
    service,
)  # fmt: skip

without_kubectl = pytest.mark.skipif(KUBECTL is None, reason="no kubectl on this machine")


def test_kubernetes_takes_every_file_of_ours():
    kinds = {kind for (kind, _), one in base().items() if kind not in CUSTOM and check(one) is None}
    assert {"Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler", "NetworkPolicy"} <= kinds
    check({**job(), "metadata": {"generateName": "flow-"}})


def test_the_check_can_fail():
    broken = json.loads(json.dumps(service()))
    broken["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        check(broken)


@without_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_whole_and_every_name_in_it_leads_somewhere(overlay):
    found = built(FOLDER / "overlays" / overlay)
    for (kind, _), one in found.items():
        if kind not in CUSTOM:
            check(one)
    text = yaml.safe_dump_all(found.values())
    maps = {name for kind, name in found if kind == "ConfigMap"}
    assert set(re.findall(r"configMapRef:\s+name: (\S+)", text)) <= maps
    assert set(re.findall(r"\S*visionops-flows-\S+", text)) <= maps
    worker = found[("Deployment", "visionops-worker")]["spec"]["template"]["spec"]
    given = {one["name"]: one.get("value") for one in worker["initContainers"][0]["env"]}
    assert given["IMAGE"] == worker["containers"][0]["image"] != "visionops-train"
    assert given["CONFIG"] in maps
    assert not re.search(r"image: visionops-", text), "every image has a registry and a version"
    assert ("Secret", "visionops-access") not in found and not [kind for kind, _ in found if kind == "Secret"]
    scaled = found[("ScaledObject", "visionops-service")]["spec"]
    own = f'service="quickstart", namespace="{found[("Deployment", "visionops-service")]["metadata"]["namespace"]}"'
    assert own in scaled["triggers"][1]["metadata"]["query"], "not another namespace's queue"
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == {"staging": (0, 10), "production": (2, 10)}[
        overlay
    ]


@without_kubectl
def test_a_cluster_without_keda_gets_one_autoscaler_too(tmp_path):
    files = {"resources": ["base"], "components": ["components/cpu-only"]}
    shutil.copytree(FOLDER / "base", tmp_path / "base")
    shutil.copytree(FOLDER / "components", tmp_path / "components")
    head = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump({**head, **files}))
    kinds = [kind for kind, _ in built(tmp_path)]
    assert kinds.count("HorizontalPodAutoscaler") == 1 and "ScaledObject" not in kinds


def test_settings_are_ones_that_the_code_takes(monkeypatch):
    for values in literals().values():
        for name, value in values.items():
            if name.startswith("VISIONOPS") or name == "RAY_ADDRESS":
                monkeypatch.setenv(name, value)
    assert load_system(settings().system).serving.access.keys_file == Path("/etc/visionops/access/keys.json")
    ray = base()[("RayCluster", "visionops-ray")]
    assert settings().ray_address == f"{ray['metadata']['name']}-head-svc:6379"
    mounts = {one["name"]: one["mountPath"] for one in container()["volumeMounts"]}
    assert str(settings().state) == mounts["state"] and f"VISIONOPS_STATE={mounts['state']}" in DOCKERFILE
    assert mounts["access"] == "/etc/visionops/access" and "tmp" in mounts


def test_probes_ask_open_paths_on_the_port_that_the_image_listens_on():
    probes = [container()[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")]
    assert [probe["path"] for probe in probes] == ["/readyz", "/readyz", "/livez"]
    assert all(SCOPES[probe["path"]] == OPEN and probe["port"] == "http" for probe in probes)
    port = container()["ports"][0]["containerPort"]
    assert f"BENTOML_PORT={port}" in DOCKERFILE
    annotations = service()["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(port) and SCOPES[annotations["prometheus.io/path"]] == OPEN
    assert base()[("NetworkPolicy", "visionops-service")]["spec"]["ingress"][0]["ports"] == [{"port": port}]
    pod = service()["spec"]["template"]["spec"]
    stops_after_s = int(container()["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > stops_after_s + ServingConfig().request_timeout_s, (
        "no answer is cut off"
    )


def test_what_selects_the_service_finds_it():
    labels = service()["spec"]["template"]["metadata"]["labels"].items()
    for kind in ("PodDisruptionBudget", "NetworkPolicy"):
        spec = base()[(kind, "visionops-service")]["spec"]
        assert (spec.get("selector") or spec["podSelector"])["matchLabels"].items() <= labels
    assert base()[("Service", "visionops-service")]["spec"]["selector"].items() <= labels
    for kind in ("ScaledObject", "HorizontalPodAutoscaler"):
        assert base()[(kind, "visionops-service")]["spec"]["scaleTargetRef"]["name"] == "visionops-service"
    assert "replicas" not in service()["spec"], "the autoscaler owns it"
    assert base()[("PersistentVolumeClaim", "visionops-state")]["spec"]["accessModes"] == ["ReadWriteMany"]


def test_it_scales_on_a_metric_that_there_is_before_clients_are_refused():
    triggers = base()[("ScaledObject", "visionops-service")]["spec"]["triggers"]
    assert [one["type"] for one in triggers] == ["cpu", "prometheus"]
    name = re.search(rf"{PREFIX}(\w+)", triggers[1]["metadata"]["query"])[1]
    assert {metric.name: metric.kind for metric in METRICS}[name] == "gauge"
    assert "prometheus." in triggers[1]["metadata"]["serverAddress"], "KEDA asks from a namespace of its own"
    workers = int(literals()["visionops-service"]["VISIONOPS__SERVING__WORKERS"])
    assert int(triggers[1]["metadata"]["threshold"]) == workers * ServingConfig().max_queue / 2


def test_prometheus_finds_the_service_and_gives_it_the_labels_that_are_asked_for(tmp_path):
    path = PROJECT / "deploy" / "prometheus" / "kubernetes.yaml"
    [scrape] = yaml.safe_load(path.read_text())["scrape_configs"]
    meta = service()["spec"]["template"]["metadata"]
    read = {one["source_labels"][0].removeprefix("__meta_kubernetes_pod_") for one in scrape["relabel_configs"]}
    given = {f"{kind}_{re.sub('[./]', '_', name)}" for kind in ("label", "annotation") for name in meta[f"{kind}s"]}
    assert {one for one in read if one.startswith(("label_", "annotation_"))} <= given
    assert meta["labels"]["visionops.org/system"] == literals()["visionops-service"]["VISIONOPS_SYSTEM"]
    query = base()[("ScaledObject", "visionops-service")]["spec"]["triggers"][1]["metadata"]["query"]
    labels = {one.get("target_label") for one in scrape["relabel_configs"]}
    assert set(re.findall(r'(\w+)="', query)) == labels & {"service", "namespace"} == {"service", "namespace"}
    if PROMTOOL is not None:  # Debian's knows no Kubernetes: the rest of the file
        static = path.read_text().replace("kubernetes_sd_configs: [{role: pod}]", "static_configs: [{targets: []}]")
        (tmp_path / "config.yaml").write_text(static)
        done = subprocess.run(
            [PROMTOOL, "check", "config", str(tmp_path / "config.yaml")], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_pod_is_restricted_and_has_its_limits():
    for pod in pods():
        spec = pod["spec"]
        context = spec["securityContext"]
        assert context["runAsNonRoot"] and context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert f"--uid {context['runAsUser']} " in DOCKERFILE
        for one in (*spec["containers"], *spec.get("initContainers", ())):
            assert one["securityContext"]["allowPrivilegeEscalation"] is False
            assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert one["resources"]["limits"]["memory"] and one["resources"]["requests"]["cpu"]


def test_secrets_are_references_and_each_is_explained():
    text = "\n".join(path.read_text() for path in FOLDER.rglob("*") if path.suffix in (".yaml", ".json"))
    assert "kind: Secret" not in text
    named = set(re.findall(r"secretName: (\S+?)[},\s]", text)) | set(re.findall(r"secretRef: \{name: (\S+?)\}", text))
    explained = set(re.findall(r"^\| `([\w-]+)`", (FOLDER / "secrets.md").read_text(), re.MULTILINE))
    assert named == explained
    secret = re.compile(r"PASSWORD|TOKEN$|SECRET|DATABASE_URL|WEBHOOK")
    assert [name for values in literals().values() for name in values if secret.search(name)] == []
