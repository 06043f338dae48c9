"""deploy/terraform, without the provider: formatted, and held to the image, the service's code and docs/deployment.md.

What the provider says of it: tests/system/test_terraform.py.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bentos.access.keys import KEYS, Key, KeyFile, read_keys
from bentos.access.scopes import OPEN, SCOPES
from bentos.http.headers import TRANSPORT
from configs.load import load_system, settings
from configs.serving import ServingConfig

PROJECT = Path(__file__).resolve().parents[3]
FOLDER = PROJECT / "deploy" / "terraform"
DOCKERFILE = (PROJECT / "deploy" / "image" / "Dockerfile").read_text()
PAGE = (PROJECT / "docs" / "deployment.md").read_text()
IMAGE = json.loads((FOLDER / "image.json").read_text())
TERRAFORM = shutil.which("terraform")


def text_of(name: str) -> str:
    return (FOLDER / name).read_text()


def blocks(kind: str, name: str) -> dict[str, str]:
    """Text of each `kind "…" {` at a file's outermost level, by its label."""
    found = re.findall(rf'^{kind} "(\w+)" \{{\n(.*?)^\}}', text_of(name), re.MULTILINE | re.DOTALL)
    return dict(found)


@pytest.mark.skipif(TERRAFORM is None, reason="no terraform on this machine")
def test_terraform_finds_nothing_to_format():
    done = subprocess.run(
        [TERRAFORM, "fmt", "-check", "-diff", "-recursive"], cwd=FOLDER, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_it_takes_the_image_for_is_what_the_image_is():
    command = json.loads(re.search(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)[1])
    assert f"BENTOML_PORT={IMAGE['port']}" in DOCKERFILE and f"\nUSER {IMAGE['user']}\n" in DOCKERFILE
    assert f"VISIONOPS_STATE={IMAGE['state']}" in DOCKERFILE
    assert int(command[command.index("--timeout-keep-alive") + 1]) == IMAGE["keep_alive_s"]
    assert (TRANSPORT[1].decode(), KEYS) == (IMAGE["transport"], IMAGE["keys_file"])
    assert all(SCOPES[IMAGE[path]] == OPEN for path in ("ready", "metrics"))
    assert ServingConfig().request_timeout_s == IMAGE["request_s"]


def test_bentoml_takes_the_command_of_the_image():
    """It hides the option, and could drop it."""
    import click
    from bentoml_cli.serve import serve_command

    command = json.loads(re.search(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)[1])
    serve = serve_command.commands[command[1]]
    found, left, _ = serve.make_parser(click.Context(serve)).parse_args(command[2:])
    assert (found["bento"], int(found["timeout_keep_alive"]), left) == ("/app/bento", IMAGE["keep_alive_s"], [])


def test_settings_are_ones_that_the_code_takes(monkeypatch):
    named = set(re.findall(r"^\s+(VISIONOPS\w+)\s+=", text_of("service.tf"), re.MULTILINE))
    values = {
        "VISIONOPS_STATE": IMAGE["state"],
        "VISIONOPS_SYSTEM": "quickstart",
        "VISIONOPS__SERVING__WORKERS": "2",
        "VISIONOPS__SERVING__ACCESS__KEYS_FILE": f"{IMAGE['access']}/{IMAGE['keys_file']}",
    }
    assert named == set(values)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    serving = load_system(settings().system).serving
    assert serving.workers == 2 and serving.access.keys_file == Path("/etc/visionops/access/keys.json")


def test_what_lays_the_keys_down_writes_a_file_that_the_service_reads(tmp_path):
    """As its container runs it, in other folders."""
    key = Key(id="0" * 12, sha256="1" * 64, scopes=("predict",), note="it's $HOME %s", created="2026-01-01T00:00:00Z")
    text = KeyFile(keys=(key,)).model_dump_json(indent=1)
    temporary, target = tmp_path / "temporary", tmp_path / "keys.json"
    temporary.mkdir(mode=0o755)
    env = {"TEMPORARY": str(temporary), "KEYS_FILE": str(target), "KEYS": text}
    assert set(re.findall(r'name = "(\w+)", value', text_of("service.tf"))) | {"KEYS"} == set(env)
    for _ in range(2):  # a task is started again
        subprocess.run(["/bin/sh", "-c", text_of("prepare.sh")], env=env, check=True)
    assert read_keys(target).keys == (key,) and target.stat().st_mode & 0o777 == 0o444
    assert temporary.stat().st_mode & 0o7777 == 0o1777 and len(list(tmp_path.iterdir())) == 2
    del env["KEYS"]
    assert subprocess.run(["/bin/sh", "-c", text_of("prepare.sh")], env=env, capture_output=True).returncode != 0
    assert read_keys(target).keys == (key,)


def test_every_variable_and_output_is_typed_explained_and_stands_in_the_docs():
    variables, outputs = blocks("variable", "variables.tf"), blocks("output", "outputs.tf")
    assert len(variables) == len(re.findall(r"^variable ", text_of("variables.tf"), re.MULTILINE)) > 15
    for name, text in variables.items():
        assert re.search(r"^  type +=", text, re.MULTILINE) and re.search(
            r'^  description += "\S', text, re.MULTILINE
        ), name
    assert all(re.search(r'^  description += "\S', text, re.MULTILINE) for text in outputs.values())
    section = PAGE.split("## AWS", 1)[1].split("\n## ", 1)[0]
    told = set(re.findall(r"`([a-z0-9_]+)`", section))
    assert variables.keys() <= told, variables.keys() - told
    assert set(re.findall(r"terraform output -raw (\w+)", section)) <= outputs.keys()


def test_the_example_sets_what_has_no_default_and_nothing_unknown():
    variables = blocks("variable", "variables.tf")
    needed = {name for name, text in variables.items() if not re.search(r"^  default +=", text, re.MULTILINE)}
    assert set(re.findall(r"^(\w+) +=", text_of("terraform.tfvars.example"), re.MULTILINE)) == needed


def test_no_secret_has_a_place_in_the_files_or_in_terraforms_state():
    text = "\n".join(path.read_text() for path in FOLDER.rglob("*.tf"))
    assert "aws_secretsmanager_secret_version" not in text, "its text would stand in the state"
    assert not re.search(r'\b(password|secret_string|access_key|secret_key|token)\s*=\s*"', text, re.IGNORECASE)
    for name in ("terraform.tfvars", "terraform.tfstate", ".terraform/x", "terraform.tfstate.backup"):
        ignored = subprocess.run(["git", "check-ignore", "-q", f"deploy/terraform/{name}"], cwd=PROJECT)
        assert ignored.returncode == 0, name
