"""Cross-validation: a training for each fold, by the stages of every training, and their figures as one page."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.data.cache import cache
from tasks.data.describe import MANIFEST
from tasks.data.ingest import Dataset
from tasks.data.split import SPLITS
from tasks.evaluation.evaluate import EVALUATION, evaluate
from tasks.run import Run
from tasks.stage_task import stage_task
from tasks.stages import StagePlan, StageResult, run_stage, write_json
from tasks.training.pretrain import starting_weights
from tasks.training.train import train
from vision.errors import UserError
from vision.package import sha256_file
from vision.settings import Section

PAGE = "folds.html"


class TestedFold(Section):
    """One fold with its stages."""

    cache: StageResult
    model: StageResult
    evaluation: StageResult


@stage_task("fold", tags=["data"])
def fold(run: Run, manifest: StageResult, folds: int, number: int) -> StageResult:
    """`splits.parquet` of fold `number`, from 0. Later trainings inherit nothing from it."""

    def work(folder):
        from vision.data.folds import assign_fold

        table = assign_fold(pd.read_parquet(manifest.folder / MANIFEST), run.config.data.split, folds, number)
        table.to_parquet(folder / SPLITS, index=False)
        counts = pd.crosstab(table["label"], table["split"]).to_dict("index")
        return {"split_sha": sha256_file(folder / SPLITS), "counts": counts}

    plan = StagePlan(
        stage="fold",
        section=run.config.data.split,
        inputs={"manifest_sha": manifest.made["manifest_sha"], "folds": folds, "number": number},
        roots=("vision.data.folds",),
    )
    return run_stage(run.stages, plan, work)


def tested(run: Run, dataset: Dataset, splits: StageResult) -> TestedFold:
    """splits: from `fold`. Trains and evaluates; registers nothing."""
    images = cache(run, splits)
    model = train(run, dataset, images, starting_weights(run, dataset, images))
    run.tracker().close_run(model.made["run_id"])
    return TestedFold(cache=images, model=model, evaluation=evaluate(run, dataset, images, model))


@stage_task("folds", tags=["evaluation"])
def summarise(run: Run, found: list[TestedFold]) -> StageResult:
    """`folds.html`, `folds.json`, `folds.png`. `made`: headline, value, low, high, text, page."""
    kind = run.config.kind
    plan = StagePlan(
        stage="folds",
        section=run.config.evaluation,
        inputs={"evaluations": [one.evaluation.key for one in found], "title": run.config.title},
        roots=(
            "vision.evaluation.cross_validation",
            "vision.evaluation.report",
            *EVALUATION,
            f"vision.kinds.{kind}_learning",
        ),
    )
    return run_stage(run.stages, plan, lambda folder: _summarise(run, found, folder))


def _summarise(run: Run, found: list[TestedFold], folder: Path) -> dict[str, Any]:
    from vision.evaluation.cross_validation import folds_part, mean_of, summary
    from vision.evaluation.report import RunReport, write_report
    from vision.evaluation.undefined import stored

    folds, whole = [_figures(one) for one in found], _together(run, found)
    headline = found[0].evaluation.made["headline"]
    names = [name for name in folds[0].metrics if all({name, f"{name}_low"} <= one.metrics.keys() for one in folds)]
    if headline not in names:
        raise UserError(
            f"{headline} is not defined in each of the {len(folds)} folds",
            "test images in each fold that it can be measured on",
            "ask for fewer folds, or add images",
        )
    part = folds_part(folds, whole, headline, names, folder / "folds.png")
    values = [one.metrics[headline] for one in folds]
    mean = mean_of(values, [one.trained for one in folds], [one.tested for one in folds])
    text = summary(mean, len(folds), headline, whole)
    report = RunReport(
        title=f"{run.config.title}: {len(folds)} folds",
        summary=f"{run.config.description} One training a fold, with one config; nothing was registered.",
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        parts=(part,),
        limitations=run.config.evaluation.limitations,
        lineage={f"fold {number}": one.model.key for number, one in enumerate(found, 1)},
    )
    made = {"headline": headline, **mean.model_dump(), "text": text}
    write_json(folder / "folds.json", {**made, "folds": [one.model_dump() for one in folds], "whole": stored(whole)})
    return {**made, "page": str(write_report(report, folder, PAGE))}


def _figures(one: TestedFold) -> Any:
    from vision.evaluation.cross_validation import Fold

    splits, made = pd.read_parquet(one.cache.folder / "rows.parquet", columns=["split"])["split"], one.model.made
    return Fold(
        metrics={name: value for name, value in one.evaluation.made["metrics"].items() if value is not None},
        trained=int((splits == "train").sum()),
        tested=int((splits == "test").sum()),
        epochs=made["epochs"],
        cpu_seconds=made["cpu_seconds"],
    )


def _together(run: Run, found: list[TestedFold]) -> dict[str, float]:
    """Metrics of the test images of all folds, each answered by its own fold's model. The headline alone where folds have
    thresholds of their own: it asks for none, the others for one."""
    import numpy as np

    from vision.data.cache import ImageCache
    from vision.kinds import learning
    from vision.package import Spec

    stores = [ImageCache.open(one.cache.folder) for one in found]
    rows = pd.concat([store.rows.iloc[store.indices("test")] for store in stores], ignore_index=True)
    parts = [np.load(one.evaluation.folder / "outputs_test.npz") for one in found]
    outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0].files}
    specs = [Spec.model_validate_json((one.evaluation.folder / "spec.json").read_text()) for one in found]
    whole = learning(run.config.kind).evaluate(outputs, rows, specs[0], run.config.evaluation)
    if len({spec.threshold for spec in specs}) == 1:
        return whole.metrics
    of_headline = (whole.headline, f"{whole.headline}_low", f"{whole.headline}_high")
    return {name: whole.metrics[name] for name in of_headline}


def told(run: Run, result: StageResult) -> dict[str, Any]:
    """What the command prints (`text`), and a copy of the page under a name that stays."""
    page = run.folder / "reports" / PAGE
    page.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(result.made["page"], page)
    return {"text": f"{run.config.title}: {result.made['text']}\n  page  {page}", "page": str(page)}
