"""Secrets that this machine has, and all that a run writes down: none of them is in it.

Their refusal in a config: tests/faults/test_config.py. In a bento: tests/serving/test_bento.py. In an image's layers and
history: tests/system/test_image.py. In databases and buckets: tests/system/test_back_ends.py.
"""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from configs.load import settings
from configs.schema import dump_yaml
from tasks.environment import hand_on_login
from tasks.run import open_run
from tasks.tracking import Tracker
from tasks.training.record import open_stage_run

PROJECT = Path(__file__).resolve().parents[3]
MARK = "hunter2hunter2"
SECRETS = {
    "VISIONOPS_ALERT_WEBHOOK": f"https://hooks.example/services/{MARK}",
    "VISIONOPS_DVC_REMOTE": f"https://me:{MARK}@127.0.0.1:9/data",
    "VISIONOPS_SERVICE_KEY": f"vo_0123_{MARK}",
    "MLFLOW_TRACKING_USERNAME": f"me-{MARK}",
    "MLFLOW_TRACKING_PASSWORD": MARK,
    "PREFECT_API_AUTH_STRING": f"me:{MARK}",
    "AWS_SECRET_ACCESS_KEY": MARK,
    "RAY_AUTH_TOKEN": MARK,
}
DOCKERFILES = sorted((PROJECT / "deploy" / "image").glob("*Dockerfile"))
SECRET_NAME = re.compile(r"PASSW|SECRET|TOKEN|WEBHOOK|_KEY\b|DATABASE_URL", re.IGNORECASE)


class Written:
    """Stands where MLflow's client stands and keeps every word that it is given."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def __getattr__(self, name: str):
        def call(*given, **named):
            self.words += [name, repr(given), repr({key: str(value) for key, value in named.items()})]
            self.words += [str(vars(one)) for value in named.values() if isinstance(value, list) for one in value]
            return SimpleNamespace(
                experiment_id="1",
                artifact_location=None,
                info=SimpleNamespace(run_id="r"),
                data=SimpleNamespace(params={}),
            )

        return call

    def search_runs(self, *_, **__) -> list:
        return []


@pytest.fixture
def run(tiny, tmp_path, monkeypatch):
    """Opened where every secret is set."""
    monkeypatch.setenv("VISIONOPS_STATE", str(tmp_path / "state"))
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    return open_run(tiny(), {}, "test")


def test_the_marks_are_where_they_belong(run):
    """Else the others would show nothing."""
    assert MARK in settings().alert_webhook.get_secret_value() and MARK in run.dvc_remote
    assert settings().mlflow_password.get_secret_value() == MARK
    hand_on_login(settings())


def test_what_a_training_tells_mlflow_has_no_secret(run):
    tracker = object.__new__(Tracker)
    tracker.uri, tracker.artifacts, tracker.system, tracker.client = run.tracking_uri, None, "tiny", Written()
    open_stage_run(run, tracker, "train", "key", SimpleNamespace(dvc_md5="0" * 32, files=3))
    said = " ".join(tracker.client.words)
    assert "training.batch_size" in said and "config_sha" in said and "dvc.md5" in said
    assert MARK not in said


def test_what_a_package_keeps_of_its_config_has_no_secret(run):
    text = dump_yaml(run.config)
    assert yaml.safe_load(text)["system"] == "tiny"
    assert MARK not in text + json.dumps(run.config.model_dump(mode="json"))


def test_neither_a_run_nor_the_settings_show_one_in_a_log(run):
    assert MARK not in repr(run) + str(run) + repr(settings()) + str(settings())


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_takes_named_folders_and_no_secret_as_a_setting(path):
    text = path.read_text()
    copied = [word for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE) for word in line.split()[:-1]]
    assert copied and not {".", "./", "*", ".env"} & set(copied), (
        "the whole checkout would bring .env and the state folder"
    )
    named = re.findall(r"^(?:ARG|ENV) (.*(?:\\\n.*)*)", text, re.MULTILINE)
    assert [name for name in named if SECRET_NAME.search(name)] == []


def test_git_and_the_bento_leave_the_files_of_secrets_out():
    ignored = (PROJECT / ".gitignore").read_text().split()
    assert ".env" in ignored and "/deploy/compose/compose.env" in ignored
    included = yaml.safe_load((PROJECT / "bentofile.yaml").read_text())["include"]
    assert all(re.fullmatch(r"(bentos|vision|configs|web|package)/\*\*|release\.json", one) for one in included)
