"""The whole flow on a Ray cluster of two nodes with a token; each node has one core, so two workers need both."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import TINY
from tests.faults.ray_cluster import Cluster
from vision.lineage import PROJECT

RUN_S = 400
TOKEN = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH")
pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def cluster():
    made = Cluster()
    try:
        made.start_head(1)
        made.add_node(1)
        yield made
    finally:
        made.stop()


def train(cluster: Cluster, folder: Path, without: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    system = folder / "tiny.yaml"
    system.write_text(yaml.safe_dump({**TINY, "training": {**TINY["training"], "workers": 2, "cpus_per_worker": 1}}))
    env = {name: value for name, value in os.environ.items() if not name.startswith(("VISIONOPS", "PREFECT_"))}
    joined = {name: value for name, value in cluster.env.items() if name.startswith("RAY_") and name not in without}
    state = {"VISIONOPS_STATE": str(folder / "state"), "BENTOML_HOME": str(folder / "bentoml")}
    return subprocess.run(
        (sys.executable, "-m", "flows.train_model", "--system", str(system)), cwd=PROJECT, env={**env, **joined, **state},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=RUN_S, check=False,
    )  # fmt: skip


def test_two_workers_on_two_nodes_make_a_champion(cluster, tmp_path):
    run = train(cluster, tmp_path)
    assert run.returncode == 0 and "version 1 is champion" in run.stdout, run.stdout + run.stderr
    [fit] = (tmp_path / "state" / "systems" / "tiny" / "stages" / "train").glob("*/fit.json")
    said = json.loads(fit.read_text())["resources"]
    assert (said["workers"], said["cpus_per_worker"]) == (2, 1)


def test_without_the_token_nothing_begins_and_one_message_says_why(cluster, tmp_path):
    run = train(cluster, tmp_path, TOKEN)
    assert run.returncode == 1, run.stdout + run.stderr
    assert run.stderr.count("\nerror: ") == 1 and "Traceback" not in run.stderr, run.stderr
    assert "the cluster does not take this machine's token" in run.stderr, run.stderr
    assert not list((tmp_path / "state").rglob("fit.json"))
