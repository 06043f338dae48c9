"""Architectures beside each other: each trained by the stages of every training, then told apart by a paired test."""

import shutil
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from configs.schema import config_sha
from tasks.data.ingest import Dataset
from tasks.evaluation.evaluate import evaluate
from tasks.run import Run
from tasks.stage_task import stage_task
from tasks.stages import StagePlan, StageResult, run_stage, write_json
from tasks.training.pace import allowed_share, pace
from tasks.training.pretrain import starting_weights
from tasks.training.train import train
from tasks.training.weigh import weigh
from vision.errors import UserError
from vision.kinds import answering
from vision.models.config import ModelConfig
from vision.settings import Section
from vision.stage_files import finished
from vision.training.shorten import shortened

PAGE = "comparison.html"
STAGE = "compare"


class Contender(Section):
    """One training of a comparison, with its stages. share: of the config's epochs, what the budget allowed."""

    run: Run
    share: float
    model: StageResult
    evaluation: StageResult
    weight: StageResult


def contenders(run: Run) -> list[Run]:
    """`run` once for each architecture and seed; all else as the config says. Raises `UserError` before anything trains."""
    weights = run.config.model.weights
    if weights in ("file", "system"):
        raise UserError(
            f"model.weights = {weights}, those of one architecture, and a comparison is of several",
            "weights that each of them has: random, imagenet or pre-trained here",
            f"add SET='model.weights=random model.{weights}=null'",
        )
    return [_as(run, arch, seed) for arch in run.config.compare.archs for seed in run.config.compare.seeds]


def _as(run: Run, arch: str, seed: int) -> Run:
    try:
        model = ModelConfig.model_validate(run.config.model.model_dump(mode="json") | {"arch": arch})
        answering(run.config.kind).check(run.config.model_copy(update={"model": model}))
    except ValueError as error:
        details = error.errors() if isinstance(error, ValidationError) else [{"msg": str(error)}]
        why = "; ".join(detail["msg"] for detail in details)
        raise UserError(
            f"compare.archs has {arch}: {why}", "architectures that go with `model`", "correct compare.archs"
        ) from None
    training = run.config.training.model_copy(update={"seed": seed})
    return _with(run, model=model, training=training)


def _with(run: Run, **sections: Any) -> Run:
    config = run.config.model_copy(update=sections)
    return run.model_copy(update={"config": config, "config_sha": config_sha(config)})


def contend(run: Run, dataset: Dataset, cache: StageResult) -> Contender:
    """run: one of `contenders`. A training that `train_model` made of the same config is taken up, and the other way round."""
    start = starting_weights(run, dataset, cache)
    budget, share = run.config.compare.cpu_seconds, 1.0
    if budget is not None:
        share = allowed_share(pace(run, dataset, cache, start).made, budget)
        run = _with(run, training=shortened(run.config.training, share))
    model = train(run, dataset, cache, start)
    run.tracker().close_run(model.made["run_id"])
    evaluation = evaluate(run, dataset, cache, model)
    return Contender(run=run, share=share, model=model, evaluation=evaluation,
                     weight=weigh(run, dataset, cache, model, evaluation))  # fmt: skip


@stage_task(STAGE, tags=["evaluation"])
def compare(run: Run, cache: StageResult, found: list[Contender]) -> StageResult:
    """`comparison.html`, `comparison.json`, `pareto.png`. `made`: page, arch (the recommended), text, served, part."""
    plan = StagePlan(
        stage=STAGE,
        section={"title": run.config.title, "sure": run.config.compare.sure},
        inputs={
            "cache": cache.key,
            "contenders": [[one.model.key, one.evaluation.key, one.weight.key] for one in found],
        },
        roots=("vision.evaluation.comparison_page", "vision.evaluation.report"),
    )
    return run_stage(run.stages, plan, lambda folder: _compare(run, found, folder))


def _compare(run: Run, found: list[Contender], folder: Any) -> dict[str, Any]:
    from vision.evaluation.comparison import recommended, standings
    from vision.evaluation.comparison_page import comparison_part, verdict
    from vision.evaluation.report import RunReport, write_report

    sure, served = run.config.compare.sure, found[0].weight.made["served"]
    headline, entries = found[0].evaluation.made["headline"], [_entry(run, one) for one in found]
    ranked = standings(entries, sure, served)
    part = comparison_part(ranked, headline, served, sure, folder / "pareto.png")
    report = RunReport(
        title=f"{run.config.title}: models compared",
        summary=f"{run.config.description} {len(found)} trainings on one split; times on {found[0].weight.made['runtime']}.",
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        parts=(part,),
        lineage={f"{one.run.config.model.arch} {one.run.config.training.seed}": one.model.key for one in found},
    )
    advice = {"arch": recommended(ranked, served).arch, "text": verdict(ranked, headline, served), "served": served}
    models = [one.model_dump(mode="json") for one in ranked]
    write_json(folder / "comparison.json", {**advice, "reasons": [p.text for p in part.points], "models": models})
    return {"page": str(write_report(report, folder, PAGE)), **advice, "part": part.model_dump(mode="json")}


def _entry(run: Run, one: Contender) -> Any:
    import pandas as pd

    from vision.evaluation.comparison import Entry
    from vision.evaluation.undefined import restored

    made, trained = one.model.made, one.run.config.training
    stages = {field: [stage.epochs for stage in getattr(trained, field)] for field in ("stages", "stages_from_scratch")}
    field = "stages_from_scratch" if made["weights"]["origin"] == "random" else "stages"
    return Entry(
        arch=one.run.config.model.arch,
        seed=trained.seed,
        headline=one.evaluation.made["headline"],
        metrics=restored(one.evaluation.made["metrics"]),
        rows=pd.read_parquet(one.evaluation.folder / "rows.parquet"),
        device=one.weight.made,
        cpu_seconds=made["cpu_seconds"],
        epochs=made["epochs"],
        budgeted=sum(stages[field]),
        planned=sum(stage.epochs for stage in getattr(run.config.training, field)),
    )


def told(run: Run, compared: StageResult, found: list[Contender]) -> dict[str, Any]:
    """What the command prints (`text`), and a copy of the page under a name that stays."""
    page = run.folder / "reports" / PAGE
    page.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(compared.made["page"], page)
    points = [f"  - {point['text']}" for point in compared.made["part"]["points"]]
    chosen = [one for one in found if one.run.config.model.arch == compared.made["arch"]]
    then = "its training is there already" if chosen[0].share == 1 else "with all epochs; the budget cut them here"
    asked = f"model.arch={compared.made['arch']} training.seed={chosen[0].run.config.training.seed}"
    lines = [
        f"{run.config.title}: {compared.made['text']}",
        *points,
        f"  then  make train SYSTEM={run.config.system} SET='{asked}'  ({then})",
        f"  page  {page}",
    ]
    return {"text": "\n".join(lines), "page": str(page), "arch": compared.made["arch"]}


def known_comparison(run: Run, cache: StageResult) -> dict[str, Any] | None:
    """The last finished comparison on the images of `cache`."""
    return next((one for one in finished(run.stages / STAGE) if one["inputs"]["cache"] == cache.key), None)


def comparison_key(run: Run, cache: StageResult) -> str | None:
    known = known_comparison(run, cache)
    return known and known["key"]
