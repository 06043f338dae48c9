"""deploy/terraform by Terraform itself and AWS's provider: what it says is quoted in docs/deployment.md. No account, no network.

The provider comes from the folder TF_PLUGINS (a file system mirror), where there is one, else from Terraform's registry.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
FOLDER = PROJECT / "deploy" / "terraform"
MIRROR = Path(os.environ.get("TF_PLUGINS", "/opt/tf-plugins"))
NO_ACCOUNT = """
provider "aws" {
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}
"""
OWN = 'network = { vpc_id = "vpc-1", public_subnet_ids = ["subnet-1", "subnet-2"], private_subnet_ids = ["subnet-3", "subnet-4"] }\n'
pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A copy, initialised."""
    assert shutil.which("terraform"), "install terraform: this module is nothing without it"
    copy = tmp_path_factory.mktemp("terraform") / "terraform"
    shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns(".terraform*"))
    (copy / "no_account_override.tf").write_text(NO_ACCOUNT)
    mirror = [f"-plugin-dir={MIRROR}"] if MIRROR.is_dir() else []
    terraform(copy, "init", "-input=false", *mirror)
    return copy


def terraform(folder: Path, *words: str, fails: bool = False) -> str:
    done = subprocess.run(
        ["terraform", words[0], "-no-color", *words[1:]], cwd=folder, capture_output=True, text=True, timeout=560, stdin=subprocess.DEVNULL,
        env={**os.environ, "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"},
    )  # fmt: skip
    assert (done.returncode != 0) == fails, done.stdout[-6000:] + done.stderr[-6000:]
    print(done.stdout[-1500:])
    return done.stdout + done.stderr


def planned(folder: Path, more: str = "") -> dict[str, dict]:
    """What an apply would make, by address."""
    (folder / "own.tfvars").write_text((FOLDER / "terraform.tfvars.example").read_text() + more)
    terraform(folder, "plan", "-input=false", "-refresh=false", "-var-file=own.tfvars", "-out=plan.tfplan")
    changes = json.loads(terraform(folder, "show", "-json", "plan.tfplan"))["resource_changes"]
    assert {tuple(one["change"]["actions"]) for one in changes} == {("create",)}
    return {one["address"]: one["change"] for one in changes}


def test_the_provider_validates_it(folder):
    assert json.loads(terraform(folder, "validate", "-json"))["diagnostics"] == []


def test_its_own_tests_pass(folder):
    assert "0 failed" in terraform(folder, "test")


def test_a_plan_with_a_network_of_its_own(folder):
    found = planned(folder)
    assert found["aws_lb_listener.https"]["after"]["port"] == 443
    assert len([name for name in found if name.startswith("module.network[0].aws_vpc_endpoint.interface")]) == 4
    policies = [one["after"].get("policy") for one in found.values()]
    assert all(json.loads(one)["Version"] for one in policies if isinstance(one, str) and "Statement" in one)


def test_a_plan_in_a_given_network_makes_none(folder):
    found = planned(folder, OWN + "requests_target = 600\n")
    assert not [name for name in found if name.startswith("module.")]
    assert "aws_appautoscaling_policy.requests[0]" in found


def test_a_plan_says_no_before_anything_is_made(folder):
    (folder / "wrong.tfvars").write_text((FOLDER / "terraform.tfvars.example").read_text().replace('"v1"', '"latest"'))
    said = terraform(folder, "plan", "-input=false", "-refresh=false", "-var-file=wrong.tfvars", fails=True)
    assert "not `latest`, by which nobody could go back" in " ".join(said.replace("│", "").split())
