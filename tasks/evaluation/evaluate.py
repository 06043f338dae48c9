"""What the trained model is worth on images it never saw: figures with intervals, pictures, calibration."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.schema import SystemConfig
from tasks.data.ingest import Dataset
from tasks.progress import progress
from tasks.run import Run
from tasks.stage_task import stage_task
from tasks.stages import StagePlan, StageResult, run_stage
from vision.evaluation.undefined import stored
from vision.kinds.base import Evaluation
from vision.package import Spec

if TYPE_CHECKING:
    from vision.models.network import ServedModel


EVALUATION = (
    "vision.evaluation.classification",
    "vision.evaluation.plots",
    "vision.evaluation.confidence_plots",
    "vision.evaluation.galleries",
    "vision.evaluation.anomaly",
    "vision.evaluation.anomaly_plots",
    "vision.evaluation.detection",
    "vision.evaluation.coco",
    "vision.evaluation.box_errors",
    "vision.evaluation.box_galleries",
    "vision.evaluation.box_plots",
)
"""What a kind's evaluation and pictures load inside their functions, where a stage's key doesn't see it."""


@stage_task("evaluate", tags=["evaluation"])
def evaluate(run: Run, dataset: Dataset, cache: StageResult, model: StageResult) -> StageResult:
    """`metrics.json`, `per_class.csv`, `rows.parquet`, `outputs_{val,test}.npz`, `spec.json`, pictures (test split)."""

    def work(folder):
        return _evaluate(run, dataset, cache, model, folder)

    kind = run.config.kind
    plan = StagePlan(
        stage="evaluate",
        section=run.config.evaluation,
        inputs={"cache": cache.key, "model": model.key},
        roots=("vision.training.predict", *EVALUATION, f"vision.kinds.{kind}", f"vision.kinds.{kind}_learning"),
    )
    return run_stage(run.stages, plan, work)


def _evaluate(run: Run, dataset: Dataset, cache: StageResult, model: StageResult, folder: Path) -> dict[str, Any]:
    import numpy as np

    from vision.data.cache import ImageCache
    from vision.evaluation.plots import training_curves
    from vision.kinds import learning
    from vision.training.predict import predict

    store, kind, spec = ImageCache.open(cache.folder), learning(run.config.kind), _spec(run.config, dataset)
    served, outputs, rows = trained_model(run, dataset, model), {}, {}
    with progress("evaluate") as bar:
        for name in ("val", "test"):
            outputs[name] = predict(served, store.images, store.indices(name), spec, on_progress=bar)
            rows[name] = store.rows.iloc[store.indices(name)].reset_index(drop=True)
            np.savez(folder / f"outputs_{name}.npz", **outputs[name])
    calibrated = kind.calibrate(outputs["val"], kind.targets(rows["val"], dataset.labels))
    spec = spec.model_copy(update=calibrated)
    found = kind.evaluate(outputs["test"], rows["test"], spec, run.config.evaluation)
    pictures = kind.draw(found, outputs["test"], store.crops("test"), spec, folder, run.config.evaluation.grid_images)
    pictures.append(training_curves(json.loads((model.folder / "history.json").read_text()), folder / "curves.png"))
    _write(folder, spec, found)
    made = {"headline": found.headline, "metrics": stored(found.metrics), **calibrated}
    return made | {"pictures": [str(path) for path in pictures]}


def _spec(config: SystemConfig, dataset: Dataset) -> Spec:
    from vision.kinds import answering

    return Spec(
        schema=1,
        kind=config.kind,
        arch=config.model.arch,
        labels=dataset.labels,
        input=config.input,
        outputs=answering(config.kind).outputs,
        confident_at=config.evaluation.confident_at,
    )


def trained_model(run: Run, dataset: Dataset, model: StageResult) -> "ServedModel":
    """The network of a training stage, with its weights, in eval mode."""
    from tasks.training.start import TrainJob, build_model
    from vision.models.network import load_model

    job = TrainJob(config=run.config, labels=dataset.labels, cache=model.folder)
    return load_model(build_model(job), model.folder / "model.safetensors")


def _write(folder: Path, spec: Spec, found: Evaluation) -> None:
    (folder / "spec.json").write_text(spec.model_dump_json(by_alias=True, indent=1))
    (folder / "metrics.json").write_text(json.dumps(stored(found.metrics), indent=1))
    found.per_class.to_csv(folder / "per_class.csv", index=False)
    found.rows.to_parquet(folder / "rows.parquet", index=False)
