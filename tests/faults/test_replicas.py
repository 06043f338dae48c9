"""A service whose back ends are all away, and two services on one state folder: what is released is served all the same."""

import contextlib
import dataclasses
import importlib
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tasks.packaging.build_bento import build_bento
from tasks.packaging.smoke import serving, smoke
from vision.export.assemble import assemble_package
from vision.lineage import PROJECT
from vision.records_read import lines, log_files
from vision.release import ReleasedModel, moved, read_release, write_release

SYSTEM, WITHIN_S = "quickstart", 30
DEAD = {
    "VISIONOPS_MLFLOW_URI": "http://127.0.0.1:9",
    "VISIONOPS_DATABASE_URL": "postgresql+psycopg2://visionops:none@127.0.0.1:9/visionops",
    "VISIONOPS_DVC_REMOTE": "s3://visionops/dvc",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "PREFECT_API_URL": "http://127.0.0.1:9/api",
    "RAY_ADDRESS": "127.0.0.1:9",
}
"""Every back end at a port where nothing listens."""
pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def tiny_package(tmp_path_factory):
    """The tiny package of tests/serving, and its state folder."""
    own = importlib.import_module("tests.serving.conftest")
    base = tmp_path_factory.getbasetemp()
    return own.make_package(base), own.released(base), own.draw


def asked(url: str, image: bytes) -> dict:
    got = httpx.post(
        f"{url}/predict", content=image, headers={"content-type": "image/jpeg"}, timeout=30, trust_env=False
    )
    assert got.status_code == 200, got.text
    return got.json()


def test_a_bento_whose_back_ends_are_all_away_serves_its_own_package(tiny_package, tmp_path, fault):
    made, _, _ = tiny_package
    home = tmp_path / "home"
    tag = build_bento(made.package.folder, SYSTEM, 3, PROJECT, {"git_commit": "abc"}, home)
    env = {"BENTOML_HOME": str(home), "VISIONOPS_STATE": str(tmp_path / "state"), **DEAD}
    with serving(tag, tmp_path, tmp_path / "serve.log", env) as running:
        verdict = smoke(running.url, made.package)
        assert verdict.passed, verdict.reasons
        said = httpx.get(f"{running.url}/health", trust_env=False, timeout=60).json()
    assert said["package_sha"] == made.package.package_sha and said["release_no"] == 0
    log = (tmp_path / "serve.log").read_text()
    assert "Traceback" not in log and "127.0.0.1:9" not in log, log
    fault.saw(
        "Release", "registry, database, object store, Prefect and Ray are all away when a bento starts", exit=200,
        says="nothing", kept="the service: it starts with the package that it carries and asks none of them",
    )  # fmt: skip


@contextlib.contextmanager
def replicas(state: Path, folder: Path):
    """Two servers on one state folder, as two containers on one volume."""
    env = {
        "VISIONOPS_STATE": str(state),
        "VISIONOPS_SYSTEM": SYSTEM,
        "VISIONOPS__SERVING__WORKERS": "1",
        "VISIONOPS__SERVING__RELEASE_POLL_S": "0.2",
    }
    with contextlib.ExitStack() as both:
        names = ("one", "other")
        yield [
            both.enter_context(
                serving(".", PROJECT, folder / f"{name}.log", {**env, "BENTOML_HOME": str(folder / name)})
            )
            for name in names
        ]


def versions(servers) -> list[int]:
    return [httpx.get(f"{server.url}/health", trust_env=False, timeout=10).json()["version"] for server in servers]


def release_next(system: Path, version: int, package_sha: str) -> None:
    """As `release_model` writes it, once for all replicas."""
    champion = ReleasedModel(version=version, package_sha=package_sha, uri=f"packages/{package_sha}")
    write_release(system / "release.json", moved(read_release(system / "release.json"), "test", champion=champion))


def take_up_s(servers, version: int) -> float:
    """Until all of them serve it."""
    began = time.monotonic()
    while set(versions(servers)) != {version}:
        assert time.monotonic() - began < WITHIN_S, versions(servers)
        time.sleep(0.05)
    return time.monotonic() - began


def test_two_replicas_follow_one_release_and_every_answer_is_recorded_once(tiny_package, tmp_path, fault):
    made, released, draw = tiny_package
    state, image = Path(shutil.copytree(released, tmp_path / "state")), draw("moss", 1)
    system = state / "systems" / SYSTEM
    other = assemble_package(system / "packages", dataclasses.replace(made.parts, metrics={"note": "other"}))
    answers = []
    with replicas(state, tmp_path) as servers, ThreadPoolExecutor(4) as clients:
        assert versions(servers) == [3, 3]
        for version, sha in ((4, other), (3, made.package.package_sha)):
            load = [clients.submit(asked, servers[number % 2].url, image) for number in range(80)]
            release_next(system, version, sha)
            print(f"\nrelease taken up by both after {take_up_s(servers, version):.1f} s")
            answers += [one.result() for one in load]
            after = [asked(server.url, image) for server in servers]
            assert {one["model"]["version"] for one in after} == {version}
            answers += after
    recorded = [
        row["id"] for file in log_files(system / "records") for row, _ in lines(file.growing.read_bytes()) if row
    ]
    assert sorted(recorded) == sorted(one["prediction_id"] for one in answers)
    assert {one["model"]["version"] for one in answers} == {3, 4}
    fault.saw(
        "Release", "two services on one state folder, under load, while the release goes on and back", exit=200, says="nothing",
        kept="no request fails, both serve the new release within seconds, each answer is on record once",
    )  # fmt: skip
