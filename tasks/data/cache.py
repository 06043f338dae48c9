"""Decodes each image once: a memory-mapped uint8 array that training and evaluation read.

These arrays are most of what a system that retrains leaves on the disk, and can be made again from its data. So those that no
flow has asked for in `keep_caches_days` go; the stage's other files stay, and with them who learned from what.
"""

import logging
import os
import time
from pathlib import Path

from filelock import FileLock, Timeout

from tasks.cluster.session import ensure_ray
from tasks.data.split import SPLITS
from tasks.progress import progress
from tasks.run import Run
from tasks.stage_task import stage_task
from tasks.stages import StagePlan, StageResult, run_stage
from vision.data.cache import IMAGES

STAGE = "cache"
DAY_S = 86400.0


@stage_task(STAGE, tags=["data"])
def cache(run: Run, splits: StageResult) -> StageResult:
    """`images.npy` uint8 [N, R, R, 3] and `rows.parquet` (vision/data/cache.py)."""

    def work(folder):
        from tasks.cluster.data import cache_on_ray
        from vision.data.cache import ImageCache

        ensure_ray(run.ray_address)
        with progress(STAGE) as bar:
            cache_on_ray(run.dataset_folder, splits.folder / SPLITS, run.config.input, folder, bar)
        return {"shape": list(ImageCache.open(folder).images.shape)}

    plan = StagePlan(
        stage=STAGE,
        section=run.config.input,
        inputs={"split_sha": splits.made["split_sha"]},
        roots=("vision.data.cache", "vision.preprocess"),
    )
    images = run.stages / STAGE / plan.key / IMAGES
    result = run_stage(run.stages, plan, work, whole=lambda made: _asked_for(images))
    gone = retire(run.stages / STAGE, run.keep_caches_days)
    if gone:
        said = "removed the decoded images of %s: not asked for in %g days"
        logging.getLogger(__name__).info(said, ", ".join(gone), run.keep_caches_days)
    return result


def _asked_for(images: Path) -> bool:
    """Is the array there? Then it counts as asked for now. The stage's lock is held, so `retire` can't come between."""
    try:
        os.utime(images)
    except FileNotFoundError:
        return False
    return True


def retire(caches: Path, days: float) -> list[str]:
    """Removes the arrays that were last asked for more than `days` ago, and says of which stages. One that a flow is
    making at this moment is left alone.
    """
    gone = []
    for images in sorted(caches.glob(f"*/{IMAGES}")):
        try:
            with FileLock(images.parent.with_suffix(".lock"), timeout=0):
                if time.time() - images.stat().st_mtime > days * DAY_S:
                    images.unlink()
                    gone.append(images.parent.name[:12])
        except (Timeout, FileNotFoundError):
            continue
    return gone
