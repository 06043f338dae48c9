"""The bento, built and served for real."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tasks.packaging.build_bento import bento_folder, build_bento, stored_labels
from tasks.packaging.smoke import serving, smoke
from vision.errors import MachineError, UserError
from vision.package import seal_package

PROJECT = Path(__file__).resolve().parents[2]

SECRET = "hunter2hunter2"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    # Under a hidden folder, as the default state folder is: BentoML refuses to build from one.
    return tmp_path_factory.mktemp("home") / ".visionops" / "bentoml"


@pytest.fixture(scope="module")
def tag(made, home) -> str:
    """Built where secrets are set."""
    with pytest.MonkeyPatch.context() as patch:
        for name in (
            "MLFLOW_TRACKING_PASSWORD",
            "AWS_SECRET_ACCESS_KEY",
            "PREFECT_API_AUTH_STRING",
            "VISIONOPS_SERVICE_KEY",
        ):
            patch.setenv(name, SECRET)
        patch.setenv("VISIONOPS_ALERT_WEBHOOK", f"https://hooks.example/{SECRET}")
        return build_bento(made.package.folder, "quickstart", 3, PROJECT, {"git_commit": "abc"}, home)


@pytest.fixture(scope="module")
def server(tag, home, tmp_path_factory):
    folder = tmp_path_factory.mktemp("elsewhere")
    with serving(
        tag, folder, folder / "serve.log", {"BENTOML_HOME": str(home), "VISIONOPS_STATE": str(folder / "state")}
    ) as running:
        yield running


def test_bento_carries_the_package_and_no_training_stack(tag, home, made):
    source = bento_folder(home, tag) / "src"
    assert (source / "package" / "MANIFEST.json").is_file()
    assert not (source / "flows").exists()
    assert not (source / "tests").exists()
    assert stored_labels(home, tag)["package_sha"] == made.package.package_sha


def test_no_secret_of_who_built_it_is_in_the_bento(tag, home):
    files = [path for path in bento_folder(home, tag).rglob("*") if path.is_file()]
    assert len(files) > 50
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


def test_building_again_keeps_the_bento_and_another_package_is_refused(tag, home, made, tmp_path):
    before = (bento_folder(home, tag) / "bento.yaml").stat().st_mtime_ns
    assert build_bento(made.package.folder, "quickstart", 3, PROJECT, {}, home) == tag
    assert (bento_folder(home, tag) / "bento.yaml").stat().st_mtime_ns == before
    other = shutil.copytree(made.package.folder, tmp_path / "other")
    (other / "metrics.json").write_text("{}")
    seal_package(other)
    with pytest.raises(UserError, match="carries package"):
        build_bento(other, "quickstart", 3, PROJECT, {}, home)


def test_golden_images_answered_over_http_agree_with_the_package(server, made):
    verdict = smoke(server.url, made.package)
    assert verdict.passed, verdict.reasons


def test_smoke_fails_for_another_package(server, made):
    other = made.package.model_copy(update={"package_sha": "0" * 64})
    assert not smoke(server.url, other).passed


def test_bentos_own_endpoints_keep_working(server):
    for path in ("/livez", "/readyz", "/metrics", "/openapi.json"):
        assert httpx.get(server.url + path, timeout=60).status_code == 200, path


def test_a_server_without_keys_says_whom_it_answers(server):
    assert "only programs on this machine are answered" in server.log.read_text()
    assert httpx.post(f"{server.url}/predict", headers={"host": "evil.example"}, timeout=60).status_code == 401


def test_parallel_clients_get_their_own_answers(server, draw):
    def ask(number: int) -> bool:
        label = ("amber", "moss", "slate")[number % 3]
        answer = httpx.post(f"{server.url}/predict", files={"file": draw(label, 500 + number)}, timeout=30)
        return answer.json()["label"] == label

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(48)))


def test_server_process_holds_no_torch(server):
    children = subprocess.run(["ps", "--ppid", str(server.pid), "-o", "pid="], capture_output=True, text=True).stdout
    maps = [Path(f"/proc/{pid}/maps").read_text() for pid in (str(server.pid), *children.split())]
    assert any("onnxruntime" in text for text in maps)
    assert not any("libtorch" in text for text in maps)


def test_bare_serve_in_the_project_answers_with_the_champion(state, made, tmp_path):
    env = {"VISIONOPS_STATE": str(state), "VISIONOPS_SYSTEM": "quickstart"}
    with serving(".", PROJECT, tmp_path / "serve.log", env) as running:
        assert httpx.get(f"{running.url}/health", timeout=60).json()["package_sha"] == made.package.package_sha
        assert smoke(running.url, made.package).passed
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{running.url}/health", timeout=60)


def test_serving_without_a_champion_says_what_to_do_and_shows_no_traceback(tmp_path):
    env = {**os.environ, "VISIONOPS_STATE": str(tmp_path / "empty")}
    command = [sys.executable, "-m", "bentoml", "serve", "--port", "0"]
    done = subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, timeout=60, check=False)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "make train SYSTEM=quickstart" in said
    assert "Traceback" not in said


def test_a_bento_whose_package_was_changed_does_not_start_and_says_which_file(tag, home, made, tmp_path):
    """Runs last: it damages the bento."""
    (bento_folder(home, tag) / "src" / "package" / "metrics.json").write_text("{}")
    with (
        pytest.raises(MachineError, match=r"metrics\.json has changed"),
        serving(tag, tmp_path, tmp_path / "serve.log", {"BENTOML_HOME": str(home)}),
    ):
        pass
