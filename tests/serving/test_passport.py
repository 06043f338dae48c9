"""The passport: everything that led to one prediction, over HTTP and as a function that a command can call."""

import json
import shutil

import pytest
from starlette.testclient import TestClient
from uuid6 import uuid7

from bentos.hooks import Client
from configs.paths import StatePaths
from configs.places import places_of
from vision.passport import Passport, trace

EXPORT = "a" * 64


def ask(worker, draw, seed: int = 1) -> str:
    return worker.client.post("/predict", files={"file": draw("moss", seed)}).json()["prediction_id"]


def passport(worker, prediction_id: str) -> dict:
    response = worker.client.get(f"/predictions/{prediction_id}/lineage")
    assert response.status_code == 200, response.text
    return response.json()


def stage(worker, name: str, key: str, inputs: dict, made: dict) -> None:
    folder = worker.system / "stages" / name / key
    folder.mkdir(parents=True)
    (folder / "stage.json").write_text(json.dumps({"stage": name, "key": key, "inputs": inputs, "made": made}))


@pytest.fixture(scope="module")
def stages(worker, made):
    """What the flows leave of a training, in the form that `tasks/stages.py` writes."""
    sha = made.package.package_sha
    stage(worker, "export", EXPORT, {}, {"package_sha": sha})
    verdict = {"passed": True, "reasons": ["accuracy 0.97 >= 0.90"], "warnings": []}
    stage(worker, "gate", "b" * 64, {"package": EXPORT}, {"verdict": verdict})
    stage(worker, "gate", "c" * 64, {"package": "d" * 64}, {"verdict": {"passed": False, "reasons": ["another"]}})
    stage(worker, "build", "f" * 64, {"package_sha": sha}, {"tag": "visionops_quickstart:v3"})


def test_a_passport_joins_answer_release_package_training_and_gate(worker, draw, made, stages):
    made_id = ask(worker, draw)
    worker.client.post("/feedback", json={"id": made_id, "label": "amber"})
    found = passport(worker, made_id)
    assert found["prediction"]["answer"]["label"] == "moss"
    assert {"at", "batch_size", "queue_ms", "compute_ms", "features"} <= set(found["prediction"])
    assert found["model"] == {
        "system": "quickstart", "version": 3, "package_sha": made.package.package_sha, "arch": "resnet18",
        "bento": "visionops_quickstart:v3", "release_no": 0, "route": "champion",
    }  # fmt: skip
    assert found["training"] == json.loads((made.package.folder / "lineage.json").read_text())
    assert found["gate"]["reasons"] == ["accuracy 0.97 >= 0.90"]
    assert (found["feedback"]["label"], found["missing"]) == ("amber", [])
    assert "embedding" not in found["prediction"]


def asked_by(worker, *scopes: str) -> TestClient:
    """Asks as the guard lets somebody in."""

    async def app(scope, receive, send):
        scope.setdefault("state", {})["client"] = Client("key-1", "0123456789abcdef", frozenset(scopes))
        await worker.client.app(scope, receive, send)

    return TestClient(app)


def test_who_asked_and_who_said_that_it_was_wrong_is_shown_to_an_admin_alone(worker, draw, stages):
    user, admin = asked_by(worker, "predict", "feedback"), asked_by(worker, "predict", "admin")
    made_id = user.post("/predict", files={"file": draw("moss", 5)}).json()["prediction_id"]
    user.post("/feedback", json={"id": made_id, "label": "amber"})
    whole = admin.get(f"/predictions/{made_id}/lineage").json()
    assert (whole["prediction"]["client_hash"], whole["feedback"]["key_id"]) == ("0123456789abcdef", "key-1")
    for client in (user, worker.client):
        shown = client.get(f"/predictions/{made_id}/lineage").json()
        assert whole["prediction"] == shown["prediction"] | {"client_hash": "0123456789abcdef"}
        assert "key_id" not in shown["feedback"] and "client_hash" not in shown["prediction"]
        assert (shown["training"], shown["gate"], shown["model"]) == (whole["training"], whole["gate"], whole["model"])


def test_an_unknown_id_has_no_passport(worker):
    for made_id in (str(uuid7()), "x", "..%2f..%2frelease.json", "a" * 300):
        assert worker.client.get(f"/predictions/{made_id}/lineage").status_code == 404


def test_a_record_of_a_package_that_is_gone_says_so_and_tells_the_rest(worker, draw, made, tmp_path):
    made_id = ask(worker, draw, 2)
    own = StatePaths(tmp_path / "state")
    shutil.copytree(worker.state, own.root)
    shutil.rmtree(own.packages("quickstart"))
    shutil.rmtree(own.stages("quickstart"), ignore_errors=True)
    found = trace(made_id, places_of(own, "quickstart"))
    assert isinstance(found, Passport)
    assert (found.training, found.gate, found.model.bento, found.model.arch) == (None, None, None, None)
    assert found.model.package_sha == made.package.package_sha
    assert found.prediction["answer"]["label"] == "moss"
    assert "no longer on this machine" in found.missing[0]
    assert found.missing[1].startswith("gate: ")


def test_a_lineage_that_was_changed_after_sealing_is_not_shown(worker, draw, tmp_path):
    made_id = ask(worker, draw, 3)
    own = StatePaths(tmp_path / "state")
    shutil.copytree(worker.state, own.root)
    [lineage] = own.packages("quickstart").glob("*/lineage.json")
    lineage.write_text('{"data": "invented"}')
    found = trace(made_id, places_of(own, "quickstart", tmp_path))
    assert found.training is None
    assert "lineage.json" in found.missing[0] and "has changed since it was sealed" in found.missing[0]


def test_a_bento_has_its_package_outside_the_state_folder(worker, draw, made, tmp_path):
    made_id = ask(worker, draw, 4)
    own = StatePaths(tmp_path / "state")
    shutil.copytree(worker.system / "records", own.records("quickstart"))
    found = trace(made_id, places_of(own, "quickstart", made.package.folder))
    assert found.training == {"data": "drawn"}
