"""The manifest: one row an image, made by Ray Data."""

import pandas as pd

from tasks.ingest import Dataset
from tasks.progress import progress
from tasks.ray_session import ensure_ray
from tasks.run import Run
from tasks.stage_task import stage_task
from tasks.stages import StagePlan, StageResult, run_stage
from vision.package import sha256_file

MANIFEST = "manifest.parquet"


@stage_task("describe", tags=["data"])
def describe(run: Run, dataset: Dataset) -> StageResult:
    """`manifest.parquet` (columns: vision/data/manifest.py). An unreadable file is a row with its error."""

    def work(folder):
        from tasks.ray_data import describe_on_ray

        ensure_ray(run.ray_address)
        with progress("describe") as bar:
            describe_on_ray(run.dataset_folder, folder / MANIFEST, bar)
        errors = pd.read_parquet(folder / MANIFEST, columns=["error"])["error"]
        made = {"images": len(errors), "unreadable": int(errors.notna().sum())}
        return made | {"manifest_sha": sha256_file(folder / MANIFEST)}

    plan = StagePlan(
        stage="describe", inputs={"dvc_md5": dataset.dvc_md5}, roots=("vision.data.manifest", "vision.data.features")
    )
    return run_stage(run.stages, plan, work)
