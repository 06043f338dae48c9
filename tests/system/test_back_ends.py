"""A system trained, traced and watched with all that a laptop keeps in files in PostgreSQL and an object store instead.

The tests build on each other, in order, as a user's commands do. Servers and settings are those of deploy/compose.
"""

import importlib.util
import json
import shutil
import subprocess
import sys

import httpx
import pytest
import yaml

from tests.composed import Composed
from tests.drawn_records import serve_drifted
from vision.release import read_release

pytestmark = pytest.mark.system


@pytest.fixture
def stack(back_ends) -> Composed:
    return back_ends


def done(run: subprocess.CompletedProcess, code: int = 0) -> str:
    assert run.returncode == code, run.stdout + run.stderr
    assert "Traceback" not in run.stderr, run.stderr
    return run.stdout


def rows(stack: Composed, table: str, columns: str = "*", database: str = "visionops") -> list[list[str]]:
    said = stack.database.psql(database, "-c", f"SELECT {columns} FROM {table}")
    return [line.split("|") for line in said.splitlines()]


def registry(stack: Composed, path: str, **words) -> dict:
    url = f"{stack.url('mlflow')}/api/2.0/mlflow/{path}"
    login = ("visionops", stack.secrets["MLFLOW_PASSWORD"])
    return httpx.get(url, params=words, auth=login, timeout=30, trust_env=False).raise_for_status().json()


def package(stack: Composed):
    return read_release(stack.state / "systems" / "tiny" / "release.json").champion


def test_a_first_model_is_champion_in_all_three_databases(stack):
    said = done(stack.flow("train_model"))
    assert "version 1 is champion" in said
    alias = registry(stack, "registered-models/alias", name="tiny", alias="champion")["model_version"]
    assert (alias["version"], package(stack).version) == ("1", 1)
    tags = {tag["key"]: tag["value"] for tag in alias["tags"]}
    assert tags["package_sha"] == package(stack).package_sha
    assert rows(stack, "audit", "what, version, who") == [["alias:champion", "1", "train_model"]]
    assert rows(stack, "releases", "system, no, step") == [["tiny", "0", "first"]]
    assert rows(stack, "training_requests", "state, automatic") == [["ended", "f"]]
    assert rows(stack, "flow_run", "name, state_type", "prefect") == [[f"train-{stack.tiny}", "COMPLETED"]]
    assert rows(stack, "model_versions", "name, version", "mlflow") == [["tiny", "1"]]
    assert not list(stack.state.glob("*.db")) and not list(stack.folder.glob("**/*.sqlite")), (
        "nothing fell back to files"
    )


def test_no_password_stands_in_what_was_written(stack):
    known = tuple(stack.secrets.values())
    for path in (path for path in stack.state.rglob("*") if path.is_file() and path.name != "config.local"):
        assert not any(secret.encode() in path.read_bytes() for secret in known), path
    for database in ("visionops", "mlflow", "prefect"):
        tables = [
            one for (one,) in rows(stack, "pg_tables", "tablename", database) if not one.startswith(("pg_", "sql_"))
        ]
        for table in tables:
            assert not any(secret in str(rows(stack, f'"{table}"', database=database)) for secret in known), table


def test_its_files_lie_in_the_store_and_come_back_from_there(stack):
    names = stack.store.names()
    sha = package(stack).package_sha
    assert any(name.startswith("dvc/files/md5/") for name in names)
    assert any(name.startswith("mlflow/") and name.endswith(f"package/{sha}/model.onnx") for name in names)
    folder = stack.state / "systems" / "tiny" / "packages" / sha
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    shutil.rmtree(folder)
    assert "macro_f1" in done(stack.flow("evaluate_model")).replace(" ", "_")
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_a_fresh_clone_pulls_the_data_set_that_was_pushed(stack, tmp_path):
    """As docs/deployment.md says; the remote's address is no part of the repository."""
    datasets, clone = stack.state / "datasets", tmp_path / "clone"
    env = stack.environment("worker")
    subprocess.run(["git", "clone", "-q", datasets, clone], check=True)
    dvc = (sys.executable, "-m", "dvc")
    words = ("remote", "add", "--local", "storage", env["VISIONOPS_DVC_REMOTE"])
    for command in ((*dvc, *words), (*dvc, "pull", "-q")):
        subprocess.run(command, cwd=clone, env=env, check=True, capture_output=True, timeout=120)
    images = {path.relative_to(datasets): path.read_bytes() for path in (datasets / "tiny").rglob("*.png")}
    assert images == {path.relative_to(clone): path.read_bytes() for path in (clone / "tiny").rglob("*.png")}
    assert len(images) > 30


def test_one_prediction_is_traced_to_its_alias_in_the_database(stack):
    serve_drifted(stack.state / "systems" / "tiny", copies=8)
    [log] = (stack.state / "systems" / "tiny" / "records").rglob("*.ndjson")
    made = json.loads(log.read_text().splitlines()[0])["id"]
    said = done(stack.run("flows.trace_prediction", made, "--system", "tiny", "--check"))
    passport, _, checked = said.partition("\nchecked:")
    assert "alias:champion version 1 by train_model: first_model" in yaml.safe_load(passport)["service"][0]
    assert "0 gone, 0 differ" in checked and "not in s3://" in checked, checked


def test_an_earlier_version_whose_cache_is_gone_comes_from_the_store(stack):
    """Without the cache of the state folder the data can only be had from the remote."""
    shutil.rmtree(stack.state / "datasets" / ".dvc" / "cache")
    commit = json.loads((stack.state / "systems" / "tiny" / "dataset.json").read_text())["commit"]
    said = done(stack.flow("evaluate_model", "--data-commit", commit))
    assert "macro_f1" in said.replace(" ", "_")


def test_the_monitor_judges_and_the_governor_counts_in_the_database(stack):
    """Two windows that drifted are an alarm; with Prefect's server there, an event asks for the training."""
    said = done(stack.flow("monitor_drift"))
    assert "drift" in said
    serve_drifted(stack.state / "systems" / "tiny", copies=8)
    assert "ALARM" in done(stack.flow("monitor_drift"))
    states = [state for (state,) in rows(stack, "training_requests", "state") if state != "ended"]
    assert states and set(states) <= {"sent", "refused"}, states
    assert rows(stack, "governor", "system") == [["tiny"]]


def test_a_challenger_is_released_and_taken_back(stack):
    wide = ("--set", "training.seed=7", "--set", "gate.max_drop=0.9", "--set", "gate.max_class_drop=0.99")
    assert "version 2 is challenger" in done(stack.flow("train_model", *wide))
    assert "shadow" in done(stack.flow("release_model"))
    done(stack.flow("rollback_release"))
    steps = [step for (step,) in rows(stack, "releases ORDER BY no", "step")]
    assert steps == ["first", "shadow", "rollback"]
    history = done(stack.run("flows.show_history", "--system", "tiny"))
    assert "first_model" in history


@pytest.mark.skipif(importlib.util.find_spec("psycopg2") is None, reason="no driver of PostgreSQL")
def test_without_a_server_mlflow_keeps_runs_in_the_database_and_files_in_the_state_folder(stack, tmp_path):
    """VISIONOPS_MLFLOW_URI may name the database itself."""
    state = tmp_path / "state"
    mlflow = {"VISIONOPS_MLFLOW_URI": stack.database.url("mlflow"), "VISIONOPS_STATE": str(state)}
    stack.database.psql("visionops", "-c", "CREATE DATABASE second")
    mlflow["VISIONOPS_DATABASE_URL"] = stack.database.url("second")
    system = tmp_path / "direct.yaml"
    system.write_text(stack.tiny.read_text().replace("system: tiny", "system: direct"))
    done(stack.run("flows.train_model", "--system", system, **mlflow))
    assert list((state / "mlartifacts").rglob("package/*/MANIFEST.json"))
