"""The container image: built by buildah, run by podman as it is in production, asked the golden images over HTTP."""

import contextlib
import importlib
import json
import os
import time
from pathlib import Path

import httpx
import pytest

from tasks.packaging.build_bento import bento_folder, build_bento, stored_labels
from tasks.packaging.build_image import ImagePlan, build_image, image_tag
from tasks.packaging.smoke import free_port, smoke
from tests.system.podman import BUILD, BUILDER, CERTIFICATES, PODMAN, UID, files_of, run, run_command
from vision.errors import MachineError

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE_S = 90
pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    own = importlib.import_module("tests.serving.conftest")
    return own.make_package(tmp_path_factory.getbasetemp()).package


@pytest.fixture(scope="module")
def image(base, package, tmp_path_factory) -> str:
    home = tmp_path_factory.mktemp("home")
    bento = build_bento(package.folder, "quickstart", 3, PROJECT, {"git_commit": "abc"}, home)
    secret = home / "pip.conf"
    secret.write_text(f"# secret-of-the-index\n[global]\ncert = {CERTIFICATES}\n")
    plan = ImagePlan(image_tag(bento, "cpu"), BUILDER, "cpu", BUILD, base, secret)
    size = build_image(plan, bento_folder(home, bento), stored_labels(home, bento), PROJECT)
    print(f"\n{plan.tag}: {size}")
    return plan.tag


@pytest.fixture(scope="module")
def volume(image, tmp_path_factory) -> Path:
    """A state folder of the image's user, and a key in it."""
    folder = tmp_path_factory.mktemp("volume")
    for path in (*folder.parents[:3], folder):
        path.chmod(0o755)
    os.chown(folder, UID, UID)
    return folder


@pytest.fixture(scope="module")
def key(image, volume) -> str:
    command = run_command(image, volume, "--rm")
    return run(*command, "python", "-m", "bentos.access", "--system", "quickstart", "create").strip()


@pytest.fixture(scope="module")
def server(image, volume, key):
    """url, container's name."""
    port = free_port()
    more = ("--detach", "--env", f"BENTOML_PORT={port}", "--env", "VISIONOPS__SERVING__WORKERS=2")
    name = run(*run_command(image, volume, *more)).strip().splitlines()[-1]
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(url, name)
        yield url, name
    finally:
        run(*PODMAN, "rm", "--force", "--time", "20", name)


def wait_until_ready(url: str, name: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/readyz", trust_env=False, timeout=60).status_code == 200:
                return
        time.sleep(0.2)
    raise AssertionError(run(*PODMAN, "logs", name))


def test_the_container_answers_the_golden_images_as_the_package_says(server, package, key):
    url, _ = server
    verdict = smoke(url, package, {"x-api-key": key})
    assert verdict.passed, verdict.reasons
    assert httpx.post(f"{url}/predict", trust_env=False, timeout=60).status_code == 401


def test_the_health_check_passes_and_nobody_is_root(server):
    url, name = server
    run(*PODMAN, "healthcheck", "run", name)
    assert run(*PODMAN, "exec", name, "id", "-u").strip() == str(UID)
    users = run(*PODMAN, "top", name, "huser").split()[1:]
    assert len(users) > 2 and set(users) == {str(UID)}
    assert httpx.get(f"{url}/metrics", trust_env=False, timeout=60).status_code == 200


def test_answers_are_recorded_in_the_volume_and_a_new_container_goes_on_there(server, volume, package, key):
    smoke(server[0], package, {"x-api-key": key})
    lines = [line for path in volume.rglob("*.ndjson") for line in path.read_text().splitlines()]
    assert len(lines) >= 6
    assert json.loads(lines[0])["package_sha"] == package.package_sha


def test_without_a_key_the_container_ends_and_says_what_to_do(image):
    with pytest.raises(AssertionError, match="knows no key"):
        run(*run_command(image, None, "--rm", "--env", f"BENTOML_PORT={free_port()}"))


def test_the_image_holds_no_torch_no_compiler_no_tool_and_no_secret(image):
    names = files_of(image)
    packages = {name.split("site-packages/")[1].split("/")[0] for name in names if "site-packages/" in name}
    assert {"openvino", "onnxruntime", "bentoml"} <= packages
    assert not packages & {"torch", "pip", "pandas", "pyarrow", "prefect", "ray", "mlflow"}
    assert not [name for name in names if name.endswith(("bin/gcc", "bin/git", "etc/pip.conf"))]
    history = run(*PODMAN, "history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
    assert "requirements" in history or "bento" in history
    assert "secret-of-the-index" not in history
    config = json.loads(run(*PODMAN, "image", "inspect", image))[0]
    assert config["Config"]["User"] == str(UID) and config["Labels"]["org.visionops.git_commit"] == "abc"
    assert "readyz" in str(config.get("Healthcheck") or config["Config"].get("Healthcheck"))


def test_a_build_that_fails_says_so_in_one_message(base, package, tmp_path):
    bento = build_bento(package.folder, "quickstart", 3, PROJECT, {}, tmp_path)
    plan = ImagePlan("visionops_broken:v1", BUILDER, "cpu", BUILD, "localhost/no-such-image:1")
    with pytest.raises(MachineError, match=r"building visionops_broken:v1"):
        build_image(plan, bento_folder(tmp_path, bento), {}, PROJECT)
