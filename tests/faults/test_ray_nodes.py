"""A Ray cluster of two nodes that loses one, its head, or is not there: a training goes on, or one message says why."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from ray_cluster import Cluster, free_port
from ray_jobs import EPOCHS, learned, make_cache, same_weights, train_alone

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 240


@pytest.fixture
def cluster():
    made = Cluster()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return make_cache(tmp_path_factory.mktemp("cache"))


def train(cache, folder, environment, at_epoch=None, **training):
    """Exit code, all that was printed, and when. at_epoch: (number, what to do then), some steps into the next."""
    command = [sys.executable, Path(__file__).with_name("ray_jobs.py"), cache, folder, json.dumps(training)]
    env = {**environment, "OMP_NUM_THREADS": "1", "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2"}
    process = subprocess.Popen(
        command, env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    timer = threading.Timer(LIMIT_S, process.kill)
    timer.start()
    lines = []
    for line in process.stdout:
        lines.append((time.monotonic(), line))
        if at_epoch and line == f"epoch {at_epoch[0]}\n":
            time.sleep(0.3)
            at_epoch[1]()
    code = process.wait()
    timer.cancel()
    return code, lines


def told(lines):
    return [int(line.split()[1]) for _, line in lines if line.startswith("epoch ")]


def message(lines):
    """From `error:` to the end: what the user is told; Ray's own lines stand before it."""
    text = "".join(line for _, line in lines)
    assert text.count("\nerror: ") == 1 and "Traceback" not in text, text
    return text.partition("\nerror: ")[2]


def resumed(folder, lines, lost_at):
    """Checks that each epoch is there once; returns the seconds from the loss to the next epoch's end."""
    history = json.loads((folder / "history.json").read_text())
    assert [record["epoch"] for record in history] == told(lines) == list(range(1, EPOCHS + 1))
    return next(at for at, line in lines if at > lost_at and line.startswith("epoch ")) - lost_at


@pytest.mark.system
def test_lost_node_is_replaced_and_training_ends_bit_for_bit_as_if_unbroken(cluster, cache, tmp_path, fault, capsys):
    cluster.start_head(1)
    node, lost_at = cluster.add_node(1), []

    def lose():
        lost_at.append(time.monotonic())
        node.lose()
        cluster.add_node(1)

    code, lines = train(cache, tmp_path / "stage", cluster.env, (2, lose), workers=2)
    assert code == 0, lines
    with capsys.disabled():
        print(f"node lost: {resumed(tmp_path / 'stage', lines, lost_at[0]):.0f} s to the next epoch")
    unbroken = train_alone(cache, tmp_path / "alone", 2)
    assert learned(json.loads((tmp_path / "stage" / "history.json").read_text())) == learned(unbroken)
    assert same_weights(tmp_path / "alone", tmp_path / "stage")
    fault.saw(
        "Kills", "SIGKILL of a whole Ray node in mid-epoch; another takes its place", exit=0, says="nothing",
        kept="the training: rates, losses and final weights are bit for bit those of an unbroken one",
    )  # fmt: skip


@pytest.mark.system
def test_lost_node_that_nobody_replaces_ends_with_one_message_and_later_goes_on(cluster, cache, tmp_path, fault):
    cluster.start_head(1)
    node, lost_at = cluster.add_node(1), []

    def lose():
        lost_at.append(time.monotonic())
        node.lose()

    wait = {"workers": 2, "worker_wait_s": 15.0}
    code, lines = train(cache, tmp_path / "stage", cluster.env, (2, lose), **wait)
    said = message(lines)
    assert code == 1 and "no room for 2 workers" in said and time.monotonic() - lost_at[0] < 90
    cluster.add_node(1)
    code, more = train(cache, tmp_path / "stage", cluster.env, **wait)
    assert code == 0 and told(more) == list(range(1, EPOCHS + 1))
    assert same_weights_as_alone(cache, tmp_path)
    fault.saw(
        "Kills", "SIGKILL of a Ray node, and none in its place for training.worker_wait_s", exit=1, says=said,
        kept="with a new node the same command ends with the weights of an unbroken training",
    )  # fmt: skip


def same_weights_as_alone(cache, folder):
    train_alone(cache, folder / "alone", 2)
    return same_weights(folder / "alone", folder / "stage")


@pytest.mark.system
def test_single_worker_of_a_lost_node_goes_on_where_there_is_room(cluster, cache, tmp_path, fault):
    cluster.start_head(1)
    node, lost_at = cluster.add_node(2), []

    def lose():
        lost_at.append(time.monotonic())
        node.lose()

    options = {"workers": 1, "cpus_per_worker": None, "worker_wait_s": 9.0}
    code, lines = train(cache, tmp_path / "stage", cluster.env, (2, lose), **options)
    assert code == 0, lines
    resumed(tmp_path / "stage", lines, lost_at[0])
    resources = json.loads((tmp_path / "stage" / "fit.json").read_text())["resources"]
    assert resources["cpus_per_worker"] == 1, "the head's one core, not the lost node's two"
    fault.saw(
        "Kills", "SIGKILL of the larger Ray node, where the only worker was", exit=0, says="nothing",
        kept="the training: after training.worker_wait_s it goes on with the other node's cores; each epoch once in the history",
    )  # fmt: skip


@pytest.mark.system
def test_lost_head_ends_with_one_message(cluster, cache, tmp_path, fault):
    head = cluster.start_head(2)
    code, lines = train(cache, tmp_path / "stage", cluster.env, (2, head.lose))
    said = re.sub(r"at \S+ is gone", "at host:port is gone", message(lines))
    assert code == 1 and "head node" in said
    assert time.monotonic() - lines[-1][0] < 70
    assert len((tmp_path / "stage" / "history.ndjson").read_text().splitlines()) >= 2
    assert list((tmp_path / "stage").glob("ray/fit/checkpoint_epoch_*/state.pt"))
    assert not (tmp_path / "stage" / "fit.json").exists()
    fault.saw(
        "Kills", "SIGKILL of Ray's head node in mid-epoch", exit=1, says=said,
        kept="the checkpoints and the history of the finished epochs; nothing counts as finished",
    )  # fmt: skip


@pytest.mark.slow
def test_cluster_that_is_not_there_or_takes_no_token_ends_with_one_message(cluster, cache, tmp_path, fault):
    address = f"127.0.0.1:{free_port()}"
    start = time.monotonic()
    code, lines = train(cache, tmp_path / "stage", {**os.environ, "RAY_ADDRESS": address})
    assert code == 1 and time.monotonic() - start < 60 and not (tmp_path / "stage").exists()
    says = message(lines).replace(address, "host:port")
    fault.saw("Kills", "RAY_ADDRESS where nothing answers", exit=1, says=says, kept="nothing was begun")

    cluster.start_head(1)
    other = tmp_path / "token"
    other.write_text("ab" * 32)
    code, lines = train(cache, tmp_path / "stage", {**cluster.env, "RAY_AUTH_TOKEN_PATH": str(other)})
    assert code == 1 and not (tmp_path / "stage").exists()
    says = message(lines).replace(cluster.address, "host:port")
    fault.saw("Kills", "a Ray cluster with another token", exit=1, says=says, kept="nothing was begun")
