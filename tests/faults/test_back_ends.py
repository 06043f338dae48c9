"""PostgreSQL, an object store and Prefect's server that restart, dawdle, or are asked with a wrong secret.

Servers and settings are those of deploy/compose. Run by hand: they take minutes.
"""

import importlib
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from flows.command import DONE, FAULT
from tasks.packaging.smoke import serving
from tasks.stack.prefect import deploy
from tests.back_ends import Relay
from tests.composed import RUN_S
from vision.lineage import PROJECT

pytestmark = pytest.mark.system
AWAY_S = 2.0
CHALLENGER = ("--set", "training.seed=8", "--set", "gate.max_drop=0.9", "--set", "gate.max_class_drop=0.99")


@pytest.fixture
def stack(back_ends):
    """With a champion."""
    if not (back_ends.state / "systems" / "tiny" / "release.json").is_file():
        made = back_ends.flow("train_model")
        assert made.returncode == DONE, made.stdout + made.stderr
    return back_ends


def message(run) -> str:
    """The one message of a run that the machine ended."""
    assert run.returncode == FAULT, (run.returncode, run.stdout, run.stderr)
    assert run.stderr.count("\nerror: ") == 1 and "Traceback" not in run.stderr, run.stderr
    said = run.stderr.partition("\nerror: ")[2].strip()
    assert "allowed:" in said and "to do:" in said, said
    return said


def hidden(said: str) -> str:
    """Without the ports of this run."""
    said = re.sub(r"(127\.0\.0\.1['\"]?(?::|, port[ =]|\.? port ))\d+", r"\1…", said)
    return re.sub(r"\bport \d+", "port …", said)


def begin(stack, *words: str) -> subprocess.Popen:
    """A training that goes on beside the test."""
    command = (sys.executable, "-m", "flows.train_model", "--system", str(stack.tiny), *words)
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=PROJECT, env=stack.environment("worker"), stdout=pipe, stderr=pipe, text=True)


def stages(stack, name: str, file: str = "stage.json") -> set[Path]:
    return set((stack.state / "systems" / "tiny" / "stages" / name).glob(f"*/{file}"))


def wait_for(stack, run: subprocess.Popen, name: str, file: str, known: set[Path]) -> None:
    end = time.monotonic() + RUN_S
    while not stages(stack, name, file) - known:
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < end, name
        time.sleep(0.05)


class Clients:
    """Two that ask with short pauses until the block ends; `wrong` holds what was not a 200."""

    def __init__(self, url: str, image: bytes) -> None:
        self._url, self._image, self._stop = url, image, threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(2)]
        self.answered, self.wrong = 0, []

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, timeout=30, trust_env=False) as client:
            while not self._stop.wait(0.1):
                try:
                    got = client.post("/predict", content=self._image, headers={"content-type": "image/jpeg"})
                    self.answered += got.status_code == 200
                    self.wrong += [] if got.status_code == 200 else [got.text]
                except httpx.HTTPError as error:
                    self.wrong.append(repr(error))


def test_a_database_that_restarts_while_a_model_is_trained_and_served(stack, tmp_path, fault):
    image = importlib.import_module("tests.serving.conftest").draw("moss", 1)
    env = {"VISIONOPS_STATE": str(stack.state), "VISIONOPS_SYSTEM": "tiny", "BENTOML_HOME": str(tmp_path / "bentoml")}
    begun, packed = stages(stack, "train", "."), stages(stack, "export")
    with serving(".", PROJECT, tmp_path / "serve.log", env) as server, Clients(server.url, image) as clients:
        run = begin(stack, *CHALLENGER)
        for name, file, known in (("train", ".", begun), ("export", "stage.json", packed)):
            wait_for(stack, run, name, file, known)
            stack.database.stop()
            time.sleep(AWAY_S)
            stack.database.start()
        out, err = run.communicate(timeout=RUN_S)
    assert run.returncode == DONE, out + err
    [version] = re.findall(r"version (\d) is challenger", out)
    assert "Traceback" not in err, err
    assert clients.wrong == [] and clients.answered > 50
    where = f"what = 'alias:challenger' AND version = {version}"
    assert stack.database.psql("visionops", "-c", f"SELECT count(*) FROM audit WHERE {where}") == "1"
    fault.saw(
        "Services", "PostgreSQL is restarted twice while a model is trained and served", exit=DONE, says="nothing",
        kept="the training ends as an undisturbed one; every request is answered, the service uses no database",
    )  # fmt: skip


def test_a_database_that_is_away(stack, fault):
    stack.database.stop()
    try:
        began = time.monotonic()
        said = hidden(message(stack.flow("train_model", *CHALLENGER)))
        assert time.monotonic() - began < 60
    finally:
        stack.database.start()
    assert "VISIONOPS_DATABASE_URL" in said or "VISIONOPS_MLFLOW_URI" in said
    fault.saw("Services", "PostgreSQL is away when a training begins", exit=FAULT, says=said, kept="nothing ran")


WRONG = {
    "the password of PostgreSQL": lambda stack: {
        "VISIONOPS_DATABASE_URL": stack.database.url().replace(stack.database.password, "wr0ng")
    },
    "the secret of the object store": lambda stack: {"AWS_SECRET_ACCESS_KEY": "wr0ng"},
    "the key of the object store": lambda stack: {"AWS_ACCESS_KEY_ID": "wr0ng"},
    "the password of Prefect's server": lambda stack: {"PREFECT_API_AUTH_STRING": "visionops:wr0ng"},
}


def versions(stack) -> tuple[str, str]:
    """Of data and models: the last commit, and how many are registered."""
    datasets = ("git", "-C", stack.state / "datasets", "rev-parse", "HEAD")
    commit = subprocess.run(datasets, capture_output=True, text=True, check=True).stdout
    return commit, stack.database.psql("mlflow", "-c", "SELECT count(*) FROM model_versions")


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_secret(stack, what, fault):
    """The data differs, so that something must be pushed."""
    before = versions(stack)
    run = stack.flow("train_model", "--set", "data.source.seed=11", **WRONG[what](stack))
    said = hidden(message(run))
    assert "wr0ng" not in run.stdout + run.stderr
    assert versions(stack) == before
    kept = "no data version, nothing registered"
    fault.saw("Services", f"{what} is wrong", exit=FAULT, says=said, kept=kept, also=(stack.folder,))


def test_an_object_store_that_is_slow(stack, fault):
    relay = Relay(int(stack.store.url.rpartition(":")[2]))
    try:
        relay.delay_s = 0.5
        run = stack.flow("explore_data", "--set", "data.source.seed=12", AWS_ENDPOINT_URL=relay.url)
    finally:
        relay.close()
    assert run.returncode == DONE and relay.seen > 20, run.stdout + run.stderr
    kept = "the data version is pushed; it takes as long as it takes"
    fault.saw(
        "Services", "an object store that takes half a second for each request", exit=DONE, says="nothing", kept=kept
    )


def test_an_object_store_that_takes_what_is_sent_and_never_answers(stack, fault):
    relay = Relay(int(stack.store.url.rpartition(":")[2]))
    try:
        relay.delay_s = None
        began = time.monotonic()
        run = stack.flow("explore_data", "--set", "data.source.seed=13", AWS_ENDPOINT_URL=relay.url)
        took_s = time.monotonic() - began
    finally:
        relay.close()
    print(f"\ntold after {took_s:.0f} s")
    said = hidden(message(run))
    assert stack.flow("explore_data", "--set", "data.source.seed=13").returncode == DONE
    fault.saw(
        "Services", "an object store that takes what is sent and never answers", exit=FAULT, says=said,
        kept="no data version; the next run pushes it", also=(stack.folder,),
    )  # fmt: skip


def test_two_deploys_at_once(stack, tmp_path, fault):
    env, told = stack.environment("worker"), []

    def go(number: int) -> None:
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            deploy(folder, "quickstart", env, schedules=False)
        except Exception as error:
            told.append(str(error))

    threads = [threading.Thread(target=go, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == []
    auth = ("visionops", stack.secrets["PREFECT_PASSWORD"])
    with httpx.Client(base_url=env["PREFECT_API_URL"], auth=auth, timeout=30, trust_env=False) as client:
        made = client.post("/deployments/filter", json={}).json()
        triggers = client.post("/automations/filter", json={}).json()
        pools = client.post("/work_pools/filter", json={}).json()
    names = [one["entrypoint"] for one in made]
    assert len(names) == len(set(names)) > 3 and [one["name"] for one in pools] == ["local"]
    assert [one["name"] for one in triggers] == ["drift-to-train"]
    fault.saw(
        "Services", "two deploys at once", exit=DONE, says="nothing",
        kept="each deployment, its trigger and the pool are there once",
    )  # fmt: skip
