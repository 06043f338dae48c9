"""A training that the monitor asked for goes on from the champion: it knows the task, and new images are few beside the old."""

import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

from tasks.data.ingest import Dataset
from tasks.packaging.champion import RegisteredPackage, open_champion
from tasks.run import Run

if TYPE_CHECKING:
    from tasks.training.start import ChampionStart

logger = logging.getLogger(__name__)
SHAPES = ("arch", "head", "hidden", "stem", "normalise")
"""Of `model`: what must be the champion's for its weights to fit."""


def champion_start(run: Run, dataset: Dataset) -> "ChampionStart | None":
    """The champion to go on from; None where the training was not asked for by the monitor (it has no window), the config
    says otherwise, there is no champion, its network is another, or it learned from this very data.
    """
    from tasks.training.start import ChampionStart

    if run.window is None or run.config.retraining.start != "champion":
        return None
    champion = open_champion(run)
    if champion is None or not _fits(run, champion) or _learned_from(champion, dataset):
        return None
    folder, labels = champion.package.folder, champion.package.spec.labels
    return ChampionStart(champion.version, folder / "model.safetensors", labels == dataset.labels)


def _fits(run: Run, champion: RegisteredPackage) -> bool:
    config = yaml.safe_load((champion.package.folder / "config.yaml").read_text())
    theirs, ours = _shape(config.get("model", {})), _shape(run.config.model.model_dump(mode="json"))
    if (theirs, config.get("kind")) != (ours, run.config.kind):
        logger.warning("champion %s is of another network (%s): starting as `model` says", champion.version, theirs)
        return False
    return True


def _shape(model: Mapping[str, Any]) -> dict[str, Any]:
    """`hidden` is only of an MLP head."""
    return {name: model.get(name) for name in SHAPES if name != "hidden" or model.get("head") == "mlp"}


def _learned_from(champion: RegisteredPackage, dataset: Dataset) -> bool:
    """The same data again from the champion's weights is no news: as the config says, it gives the stored model."""
    return json.loads((champion.package.folder / "lineage.json").read_text()).get("dvc_md5") == dataset.dvc_md5
