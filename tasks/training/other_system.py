"""A start from what another system has learned: the backbone of its champion (`model.weights: system`).

An image that it learned from proves nothing of a model that began with it. So its training images, and those of all that it began
with itself, must not be among the images that this training is judged by. Files are compared by their bytes: two photographs of
one leaf are different files.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from configs.load import known_systems
from configs.mistakes import nearest
from tasks.packaging.champion import RegisteredPackage, open_champion
from tasks.run import Run
from tasks.stages import StageResult
from vision.errors import UserError
from vision.package import MANIFEST

if TYPE_CHECKING:
    import pandas as pd

JUDGED = ("val", "test")


@dataclass(frozen=True)
class OtherStart:
    """weights: a package's model.safetensors, of the champion `version` of `system`."""

    system: str
    version: int
    weights: Path


def refuse_unfit_start(run: Run) -> None:
    """Before anything runs, what `other_start` would say of the champion itself. A training that a monitor asked for may go on from its
    own."""
    if run.window is None:
        _other_champion(run)


def other_start(run: Run, cache: StageResult) -> OtherStart | None:
    """None where `model.weights` is no `system`. Raises `UserError` when that system has no champion or one of another network, it
    learned from images that this one is judged by, or it can't be told any more from which; `MachineError` when its package is damaged.
    """
    champion = _other_champion(run)
    if champion is None:
        return None
    folder = champion.package.folder
    refuse_known_images(run, folder, cache)
    return OtherStart(run.config.model.system, champion.version, folder / "model.safetensors")


def refuse_known_images(run: Run, package: Path, cache: StageResult) -> None:
    """Looks at `package` and at all that it began with. What this system itself learned from stays in its training split. Raises
    `UserError`."""
    import pandas as pd

    system = run.config.model.system
    rows = pd.read_parquet(cache.folder / "rows.parquet", columns=["path", "sha256", "split"])
    judged = rows[rows["split"].isin(JUDGED)]
    for lineage in _history(run, package, system):
        if lineage["system"] != run.config.system:
            _refuse_common(system, judged, _learned_from(run, lineage, system))


def _other_champion(run: Run) -> RegisteredPackage | None:
    system = run.config.model.system
    if system is None:
        return None
    champion = open_champion(run.of(system))
    if champion is None:
        raise _no_champion(run, system)
    theirs = yaml.safe_load((champion.package.folder / "config.yaml").read_text())["model"]
    ours = run.config.model.model_dump(mode="json")
    if _backbone(theirs) != _backbone(ours):
        raise UserError(
            f"model.system = {system}, whose champion's backbone is {_backbone(theirs)}, and this one's is {_backbone(ours)}",
            "a champion of the same backbone",
            "change model.arch or model.stem, or take another system, or set model.weights: random",
        )
    return champion


def _backbone(model: Mapping[str, Any]) -> str:
    """A detector that was built for ImageNet's weights is wider than others of its name."""
    from vision.models.factory import built_arch

    return f"{built_arch(model['arch'], model['weights'])} with the stem for {model['stem']}"


def _no_champion(run: Run, system: str) -> UserError:
    known = [name for name in known_systems() if name != run.config.system]
    return UserError(
        f"model.system = {system}, which has no champion in {run.state.root}",
        f"{nearest(system, known)}a system that was trained there, and whose network is of the same architecture",
        f"`make train SYSTEM={system}` first, or correct the name, or set model.weights: random",
    )


def _history(run: Run, package: Path, system: str) -> Iterator[dict[str, Any]]:
    """The lineage of `package`, of the one that it began with, and so on."""
    while True:
        lineage = json.loads((package / "lineage.json").read_text())
        yield lineage
        weights = lineage["weights"]
        if weights["package_sha"]:
            package = _package(run, weights["package_sha"], system)
        elif weights["origin"] == "file":
            package = _package_of(run, weights["sha256"], system)
        else:
            return


def _refuse_common(system: str, judged: "pd.DataFrame", known: set[str]) -> None:
    common = judged[judged["sha256"].isin(known)]
    if len(common):
        raise UserError(
            f"model.system = {system}, whose champion learned from {len(common)} of the {len(judged)} images that this "
            f"training would be judged by, such as {common['path'].iloc[0]}",
            "a system that has learned from none of them",
            "take another one, or set model.weights: random",
        )


def _learned_from(run: Run, lineage: dict, system: str) -> set[str]:
    """sha256 of the images of its training split."""
    import pandas as pd

    table = run.state.stage(lineage["system"], "split", lineage["stages"]["split"]) / "splits.parquet"
    if not table.is_file():
        raise _unknown(system, f"split {lineage['split_sha'][:12]}, which it was trained by, is gone ({table})")
    rows = pd.read_parquet(table, columns=["sha256", "split"])
    return set(rows.loc[rows["split"] == "train", "sha256"])


def _package(run: Run, package_sha: str, system: str) -> Path:
    """In any system's folder: a champion may have begun with another's."""
    for name in run.state.systems:
        if (folder := run.state.package(name, package_sha)).is_dir():
            return folder
    raise _unknown(system, f"it began with package {package_sha[:12]}, which is gone")


def _package_of(run: Run, sha256: str, system: str) -> Path:
    """The one whose weights are this file."""
    for name in run.state.systems:
        for manifest in run.state.packages(name).glob(f"*/{MANIFEST}"):
            if json.loads(manifest.read_text())["files"].get("model.safetensors") == sha256:
                return manifest.parent
    raise _unknown(system, f"it began with a file (sha256 {sha256[:12]}) that no package here has")


def _unknown(system: str, why: str) -> UserError:
    return UserError(
        f"model.system = {system}: {why}; which images it learned from can't be told, so no score here would be known to be fair",
        "a champion whose history is in this state folder",
        "train that system here again, or give its model.safetensors as model.file and answer for it yourself",
    )
