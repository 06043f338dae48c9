"""Passport and blast radius over a state folder drawn by hand: one data version, one training, one package, its answers."""

import hashlib
import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
import yaml
from uuid6 import uuid7

from flows import trace_image, trace_prediction
from flows.command import AGAINST, DONE, MISTAKE
from tasks.audit import write_audit
from vision.data.labelled import LabelRow, write_labels
from vision.lineage import PROJECT, sha256_json
from vision.package import REQUIRED, seal_package, sha256_file
from vision.records import day_folder, day_number, record_line
from vision.records_log import LineLog

IMAGES = {"images/leaf/a.png": b"a", "images/leaf/b.png": b"b", "images/moss/c.png": b"c", "images/moss/d.png": b"d"}
SPLIT = {
    "images/leaf/a.png": "train",
    "images/leaf/b.png": "test",
    "images/moss/c.png": "train",
    "images/moss/d.png": None,
}
KEYS = {
    name: name[0] * 64 for name in ("describe", "split", "cache", "train", "evaluate", "validate", "export", "gate")
}


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Drawn:
    """The state folder of system `tiny`, as flows, service and people leave it."""

    def __init__(self, root: Path):
        self.root, self.system = root, root / "systems" / "tiny"
        self.stages = self.system / "stages"
        self.dvc_md5, self.commit = self._data()
        self._stages()
        self.package_sha = self._package()
        self.log = LineLog(self.system / "records")
        write_audit(
            f"sqlite:///{root / 'state.db'}",
            {"system": "tiny", "what": "alias:champion", "version": 1, "package_sha": self.package_sha,
             "who": "train_model", "why": "first_model"},
        )  # fmt: skip

    def _data(self) -> tuple[str, str]:
        repo = self.root / "datasets"
        store = repo / ".dvc" / "cache" / "files" / "md5"
        rows = []
        for path, data in IMAGES.items():
            md5 = hashlib.md5(data).hexdigest()
            (store / md5[:2]).mkdir(parents=True, exist_ok=True)
            (store / md5[:2] / md5[2:]).write_bytes(data)
            rows.append({"md5": md5, "relpath": path})
        listing = json.dumps(rows).encode()
        md5 = hashlib.md5(listing).hexdigest() + ".dir"
        (store / md5[:2]).mkdir(exist_ok=True)
        (store / md5[:2] / md5[2:]).write_bytes(listing)
        (repo / "tiny.dvc").write_text(yaml.safe_dump({"outs": [{"md5": md5, "path": "tiny"}]}))
        git = ["git", "-C", str(repo), "-c", "user.name=x", "-c", "user.email=x@x", "-c", "commit.gpgsign=false"]
        for words in (["init", "-q"], ["add", "tiny.dvc"], ["commit", "-q", "-m", "x"]):
            subprocess.run([*git, *words], check=True)
        return md5, subprocess.run(
            [*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
        ).stdout.strip()

    def stage(self, name: str, inputs: dict, made: dict) -> Path:
        folder = self.stages / name / KEYS[name]
        folder.mkdir(parents=True, exist_ok=True)
        values = {"stage": name, "key": KEYS[name], "inputs": inputs, "made": made, "at": "2026-11-21T08:00:00+00:00"}
        (folder / "stage.json").write_text(json.dumps(values))
        return folder

    def _stages(self) -> None:
        table = pd.DataFrame(
            {"path": list(IMAGES), "label": [path.split("/")[1] for path in IMAGES],
             "sha256": [sha(data) for data in IMAGES.values()], "split": [SPLIT[path] for path in IMAGES]}
        )  # fmt: skip
        for name, file in (("describe", "manifest.parquet"), ("split", "splits.parquet")):
            folder = self.stages / name / KEYS[name]
            folder.mkdir(parents=True)
            table.to_parquet(folder / file)
        self.manifest_sha = sha256_file(self.stages / "describe" / KEYS["describe"] / "manifest.parquet")
        self.split_sha = sha256_file(self.stages / "split" / KEYS["split"] / "splits.parquet")
        self.stage("describe", {"dvc_md5": self.dvc_md5}, {"manifest_sha": self.manifest_sha})
        self.stage("split", {"manifest_sha": self.manifest_sha}, {"split_sha": self.split_sha})
        self.stage("cache", {"split_sha": self.split_sha}, {})
        weights = self.stage("train", {"cache": KEYS["cache"]}, {"run_id": "r1"})
        (weights / "model.safetensors").write_bytes(b"model.safetensors")
        contract = self.stage("validate", {}, {})
        (contract / "contract.json").write_text(json.dumps({"verdict": {"passed": True}}))

    def _package(self) -> str:
        folder = self.system / "packages" / "new"
        folder.mkdir(parents=True)
        for name in REQUIRED:
            (folder / name).write_bytes(name.encode())
        config = {"system": "tiny", "gate": {"minimum": {"accuracy": 0.5}}}
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        (folder / "spec.json").write_text(json.dumps({"arch": "resnet18"}))
        head = ["git", "-C", str(PROJECT), "rev-parse", "HEAD"]
        commit = subprocess.run(head, check=True, capture_output=True, text=True).stdout.strip()
        lineage = {
            "config_sha": sha256_json(config), "dvc_md5": self.dvc_md5, "dataset_commit": self.commit,
            "manifest_sha": self.manifest_sha, "split_sha": self.split_sha, "git_commit": commit, "git_dirty": "false",
            "contract": {"passed": True, "stage": KEYS["validate"]}, "stages": KEYS,
        }  # fmt: skip
        (folder / "lineage.json").write_text(json.dumps(lineage))
        package_sha = seal_package(folder)
        folder.rename(folder.with_name(package_sha))
        self.stage("export", {"model": KEYS["train"]}, {"package_sha": package_sha})
        self.stage("gate", {"package": KEYS["export"]}, {"verdict": {"passed": True, "reasons": []}})
        return package_sha

    def answer(self, data: bytes | None = None, **changes) -> str:
        """A record; with `data`, of an image that was kept."""
        made = str(uuid7())
        fields = {
            "id": made, "at": datetime.now(UTC), "package_sha": self.package_sha, "model_version": 1, "release_no": 0,
            "route": "champion", "pair_id": None, "client_hash": None, "batch_size": 1, "queue_ms": 0, "compute_ms": 1,
            "features": {"width_px": 8}, "embedding": [0.5], "answer": {"label": "leaf"}, "confidence": 0.9,
            "confident": True,
        }  # fmt: skip
        self.log.append(record_line(fields | changes))
        if data is not None:
            folder, name = self.system / "inbox" / day_folder(day_number()), f"{sha(data)}.png"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
            (folder / f"{made}.json").write_text(json.dumps({"id": made, "file": name}))
        return made


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    monkeypatch.setenv("VISIONOPS_STATE", str(tmp_path / "state"))
    return Drawn(tmp_path / "state")


def traced(*argv, capsys):
    assert trace_image.main([*argv, "--system", "tiny"]) == DONE
    return yaml.safe_load(capsys.readouterr().out)


def test_from_an_image_to_the_packages_trained_on_it_and_their_predictions(drawn, tmp_path, capsys):
    made = drawn.answer(b"a")
    drawn.answer(route="canary", model_version=1, release_no=4)
    drawn.answer(package_sha="f" * 64)
    (drawn.system / "labelled").mkdir()
    row = LabelRow(sha256=sha(b"a"), label="leaf", file="images/leaf/a.png", id=made, key_id="k1", at="2026-11-21")
    write_labels(drawn.system / "labelled", [row])
    (tmp_path / "mine.png").write_bytes(b"a")
    for image in (str(tmp_path / "mine.png"), sha(b"a"), "images/leaf/a.png"):
        found = traced("--image", image, capsys=capsys)
        [data] = found["data"]
        assert (data["dvc_md5"], data["commit"], data["images"]) == (drawn.dvc_md5, drawn.commit, {"train": 1})
        assert [one["package_sha"] for one in found["trainings"]] == [drawn.package_sha]
        [served] = found["served"]
        assert (served["predictions"], served["releases"]) == ({"canary": 1, "champion": 1}, [0, 4])
        assert found["seen_in"] == [made] and found["labelled"][0]["key_id"] == "k1"
        assert "1 packages were trained on it and gave 2 predictions" in found["summary"]


def test_a_model_that_went_on_from_one_that_learned_an_image_has_learned_it_too(drawn, capsys):
    """Whatever its own data: the image may have left them since."""
    later, package = "u" * 64, "e" * 64
    (drawn.stages / "train" / later).mkdir()
    values = {
        "stage": "train", "key": later, "at": "2026-11-21T09:00:00+00:00", "inputs": {"cache": "other"},
        "made": {"run_id": "r2", "weights": {"origin": "champion", "package_sha": drawn.package_sha}},
    }  # fmt: skip
    (drawn.stages / "train" / later / "stage.json").write_text(json.dumps(values))
    export = {**values, "stage": "export", "key": later, "inputs": {"model": later}, "made": {"package_sha": package}}
    (drawn.stages / "export" / later).mkdir()
    (drawn.stages / "export" / later / "stage.json").write_text(json.dumps(export))
    drawn.answer(package_sha=package)
    found = traced("--image", sha(b"a"), capsys=capsys)
    assert [one["through"] for one in found["trainings"]] == [None, drawn.package_sha]
    assert "2 packages were trained on it and gave 1 predictions" in found["summary"]
    assert "0 packages were trained on it" in traced("--image", sha(b"b"), capsys=capsys)["summary"]


def test_an_image_that_was_only_tested_on_taints_no_package(drawn, capsys):
    drawn.answer()
    found = traced("--image", sha(b"b"), capsys=capsys)
    assert found["data"][0]["images"] == {"test": 1} and "0 packages were trained on it" in found["summary"]


def test_a_label_counts_its_images_by_split(drawn, capsys):
    assert traced("--label", "moss", capsys=capsys)["data"][0]["images"] == {"left_out": 1, "train": 1}


def test_what_nobody_knows_is_told(drawn, capsys):
    for argv in (["--label", "fern"], ["--image", "0" * 64], ["--image", "images/leaf/none.png"]):
        assert trace_image.main([*argv, "--system", "tiny"]) == MISTAKE
        assert "in no data version of tiny" in capsys.readouterr().err


def check(made, capsys):
    code = trace_prediction.main([made, "--system", "tiny", "--check"])
    return code, capsys.readouterr().out.partition("checked:")[2]


def test_every_hash_of_a_passport_is_made_again_and_right(drawn, capsys):
    code, said = check(drawn.answer(b"a"), capsys)
    assert code == DONE and " 0 gone, 0 differ" in said, said
    for what in (
        "package",
        "config",
        "data files",
        "manifest",
        "split",
        "weights",
        "contract",
        "code commit",
        "gate",
        "image",
    ):
        assert f"ok      {what}" in said


def test_how_a_package_went_into_service_stands_in_the_passport(drawn, capsys):
    assert trace_prediction.main([drawn.answer(), "--system", "tiny"]) == DONE
    assert "alias:champion version 1 by train_model: first_model" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("what", "place"),
    [
        ("package/model.onnx", "systems/tiny/packages/*/model.onnx"),
        ("config", "systems/tiny/packages/*/config.yaml"),
        ("data files", "datasets/.dvc/cache/files/md5/0c/*"),
        ("split", "systems/tiny/stages/split/*/splits.parquet"),
        ("weights", "systems/tiny/stages/train/*/model.safetensors"),
        ("image", "systems/tiny/inbox/*/*.png"),
    ],
)
def test_what_was_changed_or_removed_since_is_named(drawn, capsys, what, place):
    made = drawn.answer(b"a")
    [path] = drawn.root.glob(place)
    path.write_bytes(b"[]")
    code, said = check(made, capsys)
    assert code == AGAINST and f"differs {what}" in said, said
    path.unlink()
    code, said = check(made, capsys)
    assert f"ok      {what} " not in said
    assert code == DONE or what == "config"


def test_a_package_that_is_gone_is_said_to_be_and_the_rest_is_told(drawn, capsys):
    made = drawn.answer()
    [package] = (drawn.system / "packages").iterdir()
    package.rename(drawn.root / "elsewhere")
    code, said = check(made, capsys)
    assert code == DONE and "gone    package" in said and "ok      gate" in said
