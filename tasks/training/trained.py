"""All that a package is made from, and where each of its hashes stands."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from tasks.data.ingest import Dataset
from tasks.run import Run
from tasks.stages import StageResult
from vision.evaluation.undefined import restored
from vision.kinds.base import Evaluation
from vision.settings import Section

if TYPE_CHECKING:
    from tasks.training.pretrain import Start
    from vision.data.cache import Crops


class Trained(Section):
    dataset: Dataset
    manifest: StageResult
    splits: StageResult
    contract: StageResult
    pictures: StageResult
    cache: StageResult
    model: StageResult
    evaluation: StageResult
    analysis: StageResult
    before: tuple[StageResult, ...] = ()
    """What ran before the training where the config asks for it: pre-training, a search."""

    def rows(self, split: str) -> pd.DataFrame:
        """The readable images of one split, in the order of the cache and of the stored outputs."""
        from vision.data.cache import ImageCache

        images = ImageCache.open(self.cache.folder)
        return images.rows.iloc[images.indices(split)].reset_index(drop=True)

    def found(self) -> Evaluation:
        """The evaluation stage's result, read back."""
        return read_evaluation(self.evaluation)

    def crops(self, split: str) -> "Crops":
        """What the model sees of them, read when asked for."""
        from vision.data.cache import ImageCache

        return ImageCache.open(self.cache.folder).crops(split)


def before(run: Run, start: "Start") -> tuple[StageResult, ...]:
    """`Trained.before` of this run."""
    return tuple(stage for stage in (start.pretrained, run.tuned and run.tuned.found) if stage)


def _pretraining(model: StageResult) -> dict[str, str]:
    return {"pretrain": model.made["pretrain"]} if "pretrain" in model.made else {}


def _tuning(run: Run) -> dict[str, Any]:
    return {"tuning": {"stage": run.tuned.stage, "values": run.tuned.values}} if run.tuned else {}


def read_evaluation(stage: StageResult) -> Evaluation:
    per_class, rows = pd.read_csv(stage.folder / "per_class.csv"), pd.read_parquet(stage.folder / "rows.parquet")
    return Evaluation(stage.made["headline"], restored(stage.made["metrics"]), per_class, rows)


def upstream(run: Run, trained: Trained) -> dict[str, Any]:
    """`lineage.json`: what the package came from, by content. No clock time: equal trainings make equal packages."""
    verdict = trained.contract.made["verdict"]
    stages = (trained.manifest, trained.splits, trained.cache, trained.model, trained.evaluation)
    return {
        "schema": 1,
        "system": run.config.system,
        "config_sha": run.config_sha,
        **run.git_tags(),
        "dvc_md5": trained.dataset.dvc_md5,
        "dataset_commit": trained.dataset.commit,
        "manifest_sha": trained.manifest.made["manifest_sha"],
        "split_sha": trained.splits.made["split_sha"],
        "contract": {"passed": verdict["passed"], "rules": trained.contract.made["ran"], "stage": trained.contract.key},
        "run_id": trained.model.made["run_id"],
        "weights": trained.model.made["weights"],
        "stages": {stage.stage: stage.key for stage in stages} | _pretraining(trained.model),
    } | _tuning(run)
