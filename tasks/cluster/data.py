"""Per-image work as Ray Data maps: describing a dataset folder, and filling the image cache.

Through Ray go paths and counts; pixels go from the file to the part or cache that the same worker writes. On a
cluster the dataset and the output must lie where every node sees them. Ray must be initialised by the caller.
"""

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pandas as pd

from tasks.cluster.session import on_ray
from vision.data.cache import create_cache, fill_cache
from vision.data.manifest import describe_files, join_manifests, list_images, write_manifest
from vision.errors import UserError
from vision.package import InputSpec

BATCH_IMAGES = 64
OnProgress = Callable[[int, int], None] | None
Work = Callable[[pd.DataFrame], int]
"""Takes one small table and returns how many images it has dealt with."""


def describe_on_ray(root: Path, out: Path, on_progress: OnProgress = None, max_megapixels: float = 50.0) -> None:
    """Writes the manifest of dataset folder `root` to the parquet file `out`; a bad file is a row with its error."""
    listing = list_images(root)
    parts = out.with_name(f".{out.name}.parts")
    shutil.rmtree(parts, ignore_errors=True)
    parts.mkdir(parents=True)
    numbered = listing.assign(row=range(len(listing)))
    batches = [numbered.iloc[start : start + BATCH_IMAGES] for start in range(0, len(listing), BATCH_IMAGES)]
    _map(partial(_describe_part, root.resolve(), parts.resolve(), max_megapixels), batches, len(listing), on_progress)
    join_manifests(sorted(parts.iterdir()), out)
    shutil.rmtree(parts)


def cache_on_ray(root: Path, splits_path: Path, spec: InputSpec, folder: Path, on_progress: OnProgress = None) -> None:
    """Makes `folder` the filled image cache of the splits table at `splits_path`."""
    count = create_cache(folder, pd.read_parquet(splits_path), spec)
    starts = range(0, count, BATCH_IMAGES)
    slices = [pd.DataFrame({"start": [s], "stop": [min(s + BATCH_IMAGES, count)]}) for s in starts]
    _map(partial(_fill_slice, folder.resolve(), root.resolve()), slices, count, on_progress)


def _map(work: Work, blocks: list[pd.DataFrame], total: int, on_progress: OnProgress) -> None:
    """Runs `work` over small tables on Ray and reports its `done` counts. What comes back is one number a block."""
    if not blocks:
        return
    with quiet():
        done = on_ray(partial(_run, work, blocks, total, on_progress))
    if done != total:
        raise RuntimeError(f"Ray Data answered for {done} of {total} images")


def _run(work: Work, blocks: list[pd.DataFrame], total: int, on_progress: OnProgress) -> int:
    import ray.data

    done = 0
    answers = ray.data.from_pandas(blocks).map_batches(partial(_answer, work), batch_format="pandas", batch_size=None)
    for row in answers.iter_rows():
        if row["mistake"]:
            raise UserError(*json.loads(row["mistake"]))
        done += row["done"]
        if on_progress:
            on_progress(done, total)
    return done


def _answer(work: Work, table: pd.DataFrame) -> pd.DataFrame:
    """Runs on a worker. A user's mistake comes back as a value: Ray keeps only the text of what a worker raises."""
    try:
        done, mistake = work(table), ""
    except UserError as error:
        done, mistake = 0, json.dumps([error.got, error.allowed, error.do])
    return pd.DataFrame({"done": [done], "mistake": [mistake]})


@contextmanager
def quiet() -> Iterator[None]:
    """No bars and logs of Ray Data's own: they garble a terminal that has ours."""
    import ray.data

    context, logger = ray.data.DataContext.get_current(), logging.getLogger("ray.data")
    names = ("enable_progress_bars", "print_on_execution_start")
    before, level = {name: getattr(context, name) for name in names}, logger.level
    for name in names:
        setattr(context, name, False)
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        for name, value in before.items():
            setattr(context, name, value)


def _describe_part(root: Path, parts: Path, max_megapixels: float, listing: pd.DataFrame) -> int:
    """Runs on a worker. The part is named by its first row, so a repeated task replaces its own."""
    rows = describe_files(root, listing.drop(columns="row"), max_megapixels)
    write_manifest(rows, parts / f"{listing['row'].iloc[0]:010d}.parquet")
    return len(rows)


def _fill_slice(folder: Path, root: Path, slices: pd.DataFrame) -> int:
    """Runs on a worker."""
    for start, stop in zip(slices["start"], slices["stop"], strict=True):
        fill_cache(folder, root, int(start), int(stop))
    return int((slices["stop"] - slices["start"]).sum())
