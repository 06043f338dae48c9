"""Decodes each image once: a memory-mapped uint8 array that training and evaluation read."""

from tasks.cluster.session import ensure_ray
from tasks.data.split import SPLITS
from tasks.progress import progress
from tasks.run import Run
from tasks.stage_task import stage_task
from tasks.stages import StagePlan, StageResult, run_stage


@stage_task("cache", tags=["data"])
def cache(run: Run, splits: StageResult) -> StageResult:
    """`images.npy` uint8 [N, R, R, 3] and `rows.parquet` (vision/data/cache.py)."""

    def work(folder):
        from tasks.cluster.data import cache_on_ray
        from vision.data.cache import ImageCache

        ensure_ray(run.ray_address)
        with progress("cache") as bar:
            cache_on_ray(run.dataset_folder, splits.folder / SPLITS, run.config.input, folder, bar)
        return {"shape": list(ImageCache.open(folder).images.shape)}

    plan = StagePlan(
        stage="cache",
        section=run.config.input,
        inputs={"split_sha": splits.made["split_sha"]},
        roots=("vision.data.cache", "vision.preprocess"),
    )
    return run_stage(run.stages, plan, work)
