"""The manifest: one row an image, made by Ray Data."""

import pandas as pd

from tasks.cluster.session import ensure_ray
from tasks.data.ingest import Dataset
from tasks.progress import progress
from tasks.run import Run
from tasks.stage_task import stage_task
from tasks.stages import StagePlan, StageResult, run_stage
from vision.data.manifest import list_images
from vision.data.snapshot import Stamps, refuse_changes, stamps
from vision.package import sha256_file

MANIFEST = "manifest.parquet"


@stage_task("describe", tags=["data"])
def describe(run: Run, dataset: Dataset) -> StageResult:
    """`manifest.parquet` (columns: vision/data/manifest.py). An unreadable file is a row with its error."""

    def work(folder):
        from tasks.cluster.data import describe_on_ray

        ensure_ray(run.ray_address)
        before = _stamps(run)
        with progress("describe") as bar:
            describe_on_ray(run.dataset_folder, folder / MANIFEST, bar, run.config.serving.max_megapixels)
        refuse_changes(before, _stamps(run), str(run.dataset_folder))
        errors = pd.read_parquet(folder / MANIFEST, columns=["error"])["error"]
        made = {"images": len(errors), "unreadable": int(errors.notna().sum())}
        return made | {"manifest_sha": sha256_file(folder / MANIFEST)}

    plan = StagePlan(
        stage="describe",
        # What a server would refuse is no image to train on either.
        section={"max_megapixels": run.config.serving.max_megapixels},
        inputs={"dvc_md5": dataset.dvc_md5},
        roots=("vision.data.manifest", "vision.data.features"),
    )
    return run_stage(run.stages, plan, work)


def _stamps(run: Run) -> Stamps:
    return stamps({"": [run.dataset_folder / path for path in list_images(run.dataset_folder)["path"]]})
