"""What the data looks like, as one page: findings with what to do, classes, spread, near-duplicates, a map. No model."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.data.ingest import Dataset
from tasks.data.split import SPLITS
from tasks.run import Run
from tasks.stage_task import stage_task
from tasks.stages import StagePlan, StageResult, run_stage

PAGE = "data.html"
ON_REPORT = ("classes.png", "samples.png")
"""Those of its pictures that the report of a training shows too."""


@stage_task("explore", tags=["data"])
def explore(run: Run, splits: StageResult) -> StageResult:
    """`data.html`, whole in itself. `made`: page, pictures, insights (text, do) and facts (name -> value, where)."""

    def work(folder):
        return _explore(run, splits, folder)

    config = run.config
    plan = StagePlan(
        stage="explore",
        section={
            "title": config.title,
            "grid_images": config.evaluation.grid_images,
            "bits": config.data.split.near_duplicate_bits,
            "side_px": config.input.side_px,
            "crop": config.input.crop,
        },
        inputs={"split_sha": splits.made["split_sha"]},
        roots=("vision.exploration.page", f"vision.kinds.{config.kind}_exploring", "vision.preprocess"),
    )
    return run_stage(run.stages, plan, work)


def _explore(run: Run, splits: StageResult, folder: Path) -> dict[str, Any]:
    import pandas as pd

    from vision.evaluation.report import write_report
    from vision.exploration.facts import shown
    from vision.exploration.page import DataSet, data_report
    from vision.kinds import exploring

    config = run.config
    data = DataSet(
        title=config.title,
        rows=pd.read_parquet(splits.folder / SPLITS),
        root=run.dataset_folder,
        bits=config.data.split.near_duplicate_bits,
        side_px=config.input.side_px,
        crop=config.input.crop,
    )
    own = exploring(config.kind).explore(data.readable, data.root, folder, config.evaluation.grid_images)
    report, facts = data_report(data, own, folder)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    page = write_report(report.model_copy(update={"at": at}), folder, PAGE)
    return {
        "page": str(page),
        "pictures": [str(folder / name) for name in ON_REPORT if (folder / name).is_file()],
        "insights": [point.model_dump() for point in report.parts[0].points],
        "facts": shown(facts),
    }


def told(run: Run, dataset: Dataset, found: StageResult) -> dict[str, Any]:
    """What the command prints (`text`), with the findings, and a copy of the page under a name that stays."""
    page = run.folder / "reports" / PAGE
    page.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(found.made["page"], page)
    head = f"{run.config.title}: {sum(dataset.counts.values()):,} images, {len(dataset.labels)} classes, version {dataset.sha[:12]}"
    lines = [f"  - {point['text']}\n    {point['do']}" for point in found.made["insights"]]
    lines = lines or ["  no rule spoke: nothing in the figures asks for anything"]
    return {"text": "\n".join([head, *lines, f"  page  {page}"]), "page": str(page), "insights": found.made["insights"]}
