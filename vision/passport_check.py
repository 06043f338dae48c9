"""Are the things that a passport names still there, and still what they were? Each hash is made again from its files."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from vision.data.labels.intake import kept_image
from vision.dvc_files import CACHE, committed_md5, md5_file, read_listing, stored
from vision.lineage import PROJECT, sha256_json
from vision.package import MANIFEST, sha256_file
from vision.passport import Passport, Places
from vision.settings import Section
from vision.stage_files import finished

State = Literal["ok", "gone", "differs"]


class CheckLine(Section):
    """what: a name in the passport or a file; hash: the one that it is known by."""

    what: str
    hash: str
    state: State
    note: str = ""


@dataclass(frozen=True)
class Stores:
    """Where what a passport names may lie, beside its own places. remote: of the data, where that is a folder. packages: of all
    systems."""

    datasets: Path
    remote: Path | None
    inbox: Path
    packages: tuple[Path, ...] = ()

    @property
    def data(self) -> tuple[Path, ...]:
        return (self.datasets / CACHE, *([self.remote] if self.remote else []))


def check_passport(passport: Passport, places: Places, stores: Stores) -> list[CheckLine]:
    """One line for each hash that can be made again."""
    sha, lineage = passport.model.package_sha, passport.training
    folder = next((path / sha for path in places.packages if (path / sha).is_dir()), None)
    lines = list(_package(folder, sha))
    if folder and lineage:
        lines += [_config(folder, lineage), *_data(places.system, lineage, stores), *_stages(places, folder, lineage)]
        lines += [_code(lineage), *_start(lineage, (*places.packages, *stores.packages))]
    lines += [*_gate(places, sha), *_bento(places, sha), *_image(stores.inbox, passport.prediction["id"])]
    return lines


def _line(what: str, wanted: str, found: str | None, note: str = "") -> CheckLine:
    state: State = "gone" if found is None else "ok" if found == wanted else "differs"
    return CheckLine(what=what, hash=wanted, state=state, note=note)


def _package(folder: Path | None, sha: str) -> Iterator[CheckLine]:
    manifest = folder / MANIFEST if folder else None
    there = bool(manifest and manifest.is_file())
    yield _line("package", sha, sha256_file(manifest) if there else None)
    if not there or sha256_file(manifest) != sha:
        return
    for name, wanted in sorted(json.loads(manifest.read_text())["files"].items()):
        file = folder / name
        yield _line(f"package/{name}", wanted, sha256_file(file) if file.is_file() else None)


def _config(folder: Path, lineage: dict[str, Any]) -> CheckLine:
    file = folder / "config.yaml"
    return _line(
        "config", lineage["config_sha"], sha256_json(yaml.safe_load(file.read_text())) if file.is_file() else None
    )


def _data(system: str, lineage: dict[str, Any], stores: Stores) -> Iterator[CheckLine]:
    md5, commit = lineage["dvc_md5"], lineage["dataset_commit"]
    yield _line("data commit", commit, commit if committed_md5(stores.datasets, commit, system) == md5 else None)
    listing = stored(stores.data, md5)
    yield _line("data version", md5, listing and f"{md5_file(listing)}.dir")
    files = read_listing(stores.data, md5)
    if files is None:
        return
    places = {name: stored(stores.data, known) for name, known in files.items()}
    gone = sorted(name for name, path in places.items() if path is None)
    wrong = sorted(name for name, path in places.items() if path and md5_file(path) != files[name])
    named = f": {', '.join((wrong or gone)[:3])}" if wrong or gone else ""
    note = f"{len(files)} files, {len(gone)} gone, {len(wrong)} changed{named}"
    state: State = "differs" if wrong else "gone" if gone else "ok"
    yield CheckLine(what="data files", hash=md5, state=state, note=note)


def _stages(places: Places, folder: Path, lineage: dict[str, Any]) -> Iterator[CheckLine]:
    """Files of stages, against the hashes that the lineage and the package hold."""
    keys = lineage["stages"]
    sealed = json.loads((folder / MANIFEST).read_text())["files"]
    for what, wanted, path in (
        ("manifest", lineage["manifest_sha"], places.stages / "describe" / keys["describe"] / "manifest.parquet"),
        ("split", lineage["split_sha"], places.stages / "split" / keys["split"] / "splits.parquet"),
        ("weights", sealed["model.safetensors"], places.stages / "train" / keys["train"] / "model.safetensors"),
    ):
        yield _line(what, wanted, sha256_file(path) if path.is_file() else None)
    contract = places.stages / "validate" / lineage["contract"]["stage"] / "contract.json"
    stage, said = lineage["contract"]["stage"], lineage["contract"]["passed"]
    there = contract.is_file()
    same = there and json.loads(contract.read_text())["verdict"]["passed"] == said
    state: State = "ok" if same else "differs" if there else "gone"
    yield CheckLine(what="contract", hash=stage, state=state, note="passed" if said else "failed")


def _code(lineage: dict[str, Any]) -> CheckLine:
    """Is the commit in this checkout's history?"""
    commit = lineage["git_commit"]
    command = ["git", "-C", str(PROJECT), "cat-file", "-e", f"{commit}^{{commit}}"]
    there = subprocess.run(command, capture_output=True, check=False).returncode == 0
    note = "with changes that were never committed" if lineage["git_dirty"] == "true" else ""
    return _line("code commit", commit, commit if there else None, note)


def _start(lineage: dict[str, Any], packages: tuple[Path, ...]) -> Iterator[CheckLine]:
    """The package that the training began with, of its own system or of another, the one that that began with, and so on."""
    while sha := lineage["weights"].get("package_sha"):
        manifest = next((path for parent in packages if (path := parent / sha / MANIFEST).is_file()), None)
        line = _line("start package", sha, sha256_file(manifest) if manifest else None)
        yield line
        if line.state != "ok":
            return
        lineage = json.loads((manifest.parent / "lineage.json").read_text())


def _gate(places: Places, sha: str) -> Iterator[CheckLine]:
    """The stage that let this package pass names the export that made it."""
    exports = {stage["key"] for stage in finished(places.stages / "export") if stage["made"].get("package_sha") == sha}
    gates = [stage for stage in finished(places.stages / "gate") if stage["inputs"].get("package") in exports]
    passed = next((stage["key"] for stage in gates if stage["made"]["verdict"]["passed"]), None)
    if passed:
        yield CheckLine(what="gate", hash=passed, state="ok", note="passed")
    else:
        state: State = "differs" if gates else "gone"
        yield CheckLine(
            what="gate", hash=sha, state=state, note="no gate that let this package pass is on this machine"
        )


def _bento(places: Places, sha: str) -> Iterator[CheckLine]:
    """The package that the image carries."""
    for stage in finished(places.stages / "build"):
        if stage["inputs"].get("package_sha") == sha:
            name, version = stage["made"]["tag"].split(":")
            manifest = Path(stage["inputs"]["home"]) / "bentos" / name / version / "src" / "package" / MANIFEST
            yield _line(f"bento {stage['made']['tag']}", sha, sha256_file(manifest) if manifest.is_file() else None)
            return


def _image(inbox: Path, prediction_id: str) -> Iterator[CheckLine]:
    """Only where the client asked to keep it."""
    kept = kept_image(inbox, prediction_id)
    if kept is not None:
        yield _line("image", kept.stem, sha256_file(kept))
