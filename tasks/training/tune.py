"""A search for better settings before the training, judged on the validation split; the test split is not looked at."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.schema import config_sha
from configs.tuning import overridden
from tasks.cluster.session import ensure_ray
from tasks.data.ingest import Dataset
from tasks.run import Run, Tuned
from tasks.stage_task import stage_task
from tasks.stages import StagePlan, StageResult, run_stage
from tasks.training.pretrain import Start
from tasks.training.record import open_stage_run
from tasks.training.train import train_plan
from vision.errors import UserError

if TYPE_CHECKING:
    from tasks.cluster.tune import Trial
    from tasks.training.tuning_record import Trials
    from vision.evaluation.report import Part

PICTURE = "trials.png"
TABLE = "trials.csv"
SOURCES = ("vision.training.shorten", "configs.tuning")
"""What a search is made from beside a training."""


def tune(run: Run, dataset: Dataset, cache: StageResult, start: Start) -> Run:
    """`run` with the settings that were found in its config, so that all after it train, record and package those; `run`
    itself where the config asks for no search. A training that goes on from the champion takes the champion's."""
    if run.config.tuning is None:
        return run
    if start.champion is not None:
        lineage = json.loads((start.champion.weights.parent / "lineage.json").read_text())
        return _with_values(run, **lineage["tuning"]) if "tuning" in lineage else run
    found = _tune(run, dataset, cache, start)
    tuned = _with_values(run, found.key, found.made["best"]["values"], tuple(found.made["parts"]))
    return tuned.model_copy(update={"tuned": tuned.tuned.model_copy(update={"found": found})})


@stage_task("tune", tags=["training"])
def _tune(run: Run, dataset: Dataset, cache: StageResult, start: Start) -> StageResult:
    """`trials.json`, `trials.csv`, `trials.png`; `made`: best (a trial), own (the config's), parts, run_id of MLflow's parent."""
    plan = _plan(run, dataset, cache, start)

    def work(folder):
        from tasks.cluster.tune import best_of, tune_on_ray
        from tasks.training.start import TrainJob

        job = TrainJob(run.config, dataset.labels, cache.folder, run.weights_root, start.backbone)
        _refuse_missing_optuna(run)
        _refuse_large_batches(run, cache)
        ensure_ray(run.ray_address)
        trials = _recorded(run, dataset, plan.key)
        found = tune_on_ray(job, run.config.tuning, folder, trials)
        best = best_of(found)
        made = {"run_id": trials.parent.run_id, "best": best.model_dump(mode="json")}
        made |= {
            "own": found[0].model_dump(mode="json"),
            "parts": [_part(run, found, best, folder).model_dump(mode="json")],
        }
        _close(run, made, folder)
        return made

    return run_stage(run.stages, plan, work)


def _plan(run: Run, dataset: Dataset, cache: StageResult, start: Start) -> StagePlan:
    """A search is decided by all that a training is decided by, and by what it may try."""
    plan = train_plan(run, dataset, cache, start)
    section = {**plan.section, "tuning": run.config.tuning.model_dump(mode="json")}
    return plan.model_copy(update={"stage": "tune", "section": section, "roots": (*plan.roots, *SOURCES)})


def _with_values(run: Run, stage: str, values: dict[str, Any], parts: tuple[dict[str, Any], ...] = ()) -> Run:
    config = overridden(run.config, values)
    tuned = Tuned(values=values, stage=stage, parts=parts)
    return run.model_copy(update={"config": config, "config_sha": config_sha(config), "tuned": tuned})


def _refuse_missing_optuna(run: Run) -> None:
    if run.config.tuning.search == "optuna" and find_spec("optuna") is None:
        raise UserError(
            "tuning.search = optuna, and Optuna is not installed", "optuna, which is in requirements.lock; or random",
            "run `make setup`, or set tuning.search: random",
        )  # fmt: skip


def _refuse_large_batches(run: Run, cache: StageResult) -> None:
    from tasks.training.start import labelled_images
    from vision.data.cache import ImageCache

    images = len(labelled_images(ImageCache.open(cache.folder), run.config))
    domain = run.config.tuning.space.get("training.batch_size")
    largest = max(domain.probes()) if domain else run.config.training.batch_size
    if largest > images:
        raise UserError(
            f"tuning would try training.batch_size = {largest}, but the training split has {images} images",
            f"at most {images}", "lower it in tuning.space, or add images",
        )  # fmt: skip


def _recorded(run: Run, dataset: Dataset, key: str) -> "Trials":
    from tasks.training.tuning_record import Parent, Trials

    tracker = run.tracker()
    run_id = open_stage_run(run, tracker, "tune", key, dataset)
    # Without the tag `state`, by which a run that nobody ended is told: these end by their own.
    tags = {"system": run.config.system, "reason": run.reason, "config_sha": run.config_sha, **run.git_tags()}
    return Trials(
        Parent(
            uri=run.tracking_uri, artifacts=tracker.artifacts, system=run.config.system, run_id=run_id, stage_key=key,
            trials=run.config.tuning.trials, tags=tags,
        )
    )  # fmt: skip


def _part(run: Run, trials: list["Trial"], best: "Trial", folder: Path) -> "Part":
    """The page's chapter, and the files that it shows."""
    import pandas as pd

    from vision.evaluation.report import Part, Picture, frame_table
    from vision.evaluation.tuning_plots import parallel_coordinates
    from vision.kinds import learning

    settings, score = list(run.config.tuning.space), f"val_{learning(run.config.kind).headline}"
    rows = [{"trial": t.number, **t.values, score: t.score, "epochs": f"{t.epochs} of {t.planned}", "cpu_s": t.cpu_seconds}
            for t in trials]  # fmt: skip
    table = pd.DataFrame(rows).astype({score: float})
    table.to_csv(folder / TABLE, index=False)
    picture = parallel_coordinates(table, settings, score, folder / PICTURE)
    ranked = table.sort_values([score, "trial"], ascending=[False, True])
    return Part(
        title="The search for settings",
        text=(_told(trials, best, score),),
        tables=(frame_table("Trials, the best first; trial 0 is the config's own", ranked),),
        pictures=(Picture(path=picture),),
    )


def _told(trials: list["Trial"], best: "Trial", score: str) -> str:
    own, cpu = trials[0].score, sum(trial.cpu_seconds for trial in trials)
    beside = "which did not come to an end" if own is None else f"{own:.3f}"
    found = "Nothing beat the config's own settings" if best.number == 0 else f"Trial {best.number} is trained in full"
    return (
        f"{len(trials)} trials in {cpu:,.0f} CPU-seconds. {found}: {score} {best.score:.3f}, the config's own {beside}. "
        "The best of many is flattered by chance; what it is worth, the test images say above."
    )


def _close(run: Run, made: dict[str, Any], folder: Path) -> None:
    tracker, best = run.tracker(), made["best"]
    tracker.log_metrics(made["run_id"], {"best_score": best["score"], "best_trial": best["number"]})
    tracker.log_params(made["run_id"], {f"best.{key}": value for key, value in best["values"].items()})
    for name in (PICTURE, TABLE):
        tracker.client.log_artifact(made["run_id"], str(folder / name), "tuning")
    tracker.close_run(made["run_id"])
