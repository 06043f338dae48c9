"""Training in a cluster: the pool, the jobs of flows, Ray, and who may speak to whom."""

import json
import re
import subprocess

import yaml

from tests.unit.deploy.cluster_files import FOLDER, PROJECT, base, job, literals, pods


def test_training_runs_the_locked_ray_and_its_pods_may_speak_to_each_other():
    locked = re.search(r"^ray==(\S+)", (PROJECT / "requirements.lock").read_text(), re.MULTILINE)[1]
    ray = base()[("RayCluster", "visionops-ray")]["spec"]
    assert ray["rayVersion"] == locked
    allowed = base()[("NetworkPolicy", "visionops-training")]["spec"]["podSelector"]["matchExpressions"][0]
    roles = [pod["metadata"]["labels"].get("visionops.org/role") for pod in pods()]
    assert roles.count(None) == 1, "all but the service"
    assert set(roles) - {None} == set(allowed["values"])


def test_the_worker_rewrites_the_pool_of_every_deployment():
    """Its `sed` line would else deploy to a pool that nobody serves."""
    deploy = base()[("Deployment", "visionops-worker")]["spec"]["template"]["spec"]["initContainers"][0]["args"][0]
    old, new = re.search(r"sed 's/(work_pool: .*?)/(work_pool: .*?)/'", deploy).groups()
    whole = yaml.safe_load((PROJECT / "prefect.yaml").read_text().replace(old, new))
    assert {one["work_pool"]["name"] for one in whole["deployments"]} == {"kubernetes"}
    variables = json.loads((FOLDER / "base" / "job-template.json").read_text())["variables"]["properties"]
    written = set(re.findall(r"s\|(\w+)\|", deploy))
    assert written == {one["default"] for one in variables.values() if str(one.get("default", "")).isupper()}


def test_a_flow_has_a_ray_node_beside_it_and_runs_without_one_too(tmp_path):
    """A driver joins a cluster by a node on its own host alone (`ray._private.services.get_node_to_connect_for_driver`)."""
    [flow] = job()["spec"]["template"]["spec"]["containers"]
    assert 'ray start --address "$RAY_ADDRESS" --num-cpus 0 ' in flow["command"][2]
    assert "RAY_ADDRESS" in literals()["visionops-flows"]
    for code, says in ((0, ""), (1, "no Ray at ray:6379")):
        (tmp_path / "ray").write_text(f"#!/bin/sh\nexit {code}\n")
        (tmp_path / "ray").chmod(0o755)
        env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "RAY_ADDRESS": "ray:6379"}
        done = subprocess.run([*flow["command"], "echo", "a b"], env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and done.stdout.splitlines()[-1] == "a b" and says in done.stdout


def test_flows_may_ask_the_servers_that_they_need_and_nobody_else_may():
    spec = base()[("NetworkPolicy", "visionops-servers")]["spec"]
    [ingress] = spec["ingress"]
    [allowed] = ingress["from"]
    roles = {pod["metadata"]["labels"].get("visionops.org/role") for pod in pods()} - {None}
    assert set(allowed["podSelector"]["matchExpressions"][0]["values"]) == roles
    assert "visionops.org/role: server" in (FOLDER / "base" / "kustomization.yaml").read_text()
    assert set(spec["podSelector"]["matchLabels"].values()).isdisjoint(roles)
