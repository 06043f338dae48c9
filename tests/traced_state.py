"""The state folder of system `tiny`, drawn by hand: one data version, one training, one package, its answers."""

import hashlib
import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import yaml
from uuid6 import uuid7

from tasks.audit import write_audit
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
    """The state folder of system `tiny`, as flows, service and people leave it. began: the package that its training began with."""

    def __init__(self, root: Path, began: str | None = None):
        self.root, self.system = root, root / "systems" / "tiny"
        self.stages = self.system / "stages"
        self.dvc_md5, self.commit = self._data()
        self._stages()
        self.package_sha = self._package(began)
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

    def _package(self, began: str | None) -> str:
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
            "weights": {"origin": "random", "file": None, "sha256": None, "package_sha": began, "warning": ""},
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
