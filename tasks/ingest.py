"""Brings the images in and versions them. Runs every time: only looking at the source can tell whether it changed."""

import json
import time
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.datasets import add_version, get_version
from tasks.progress import progress
from tasks.run import Run
from vision.data.manifest import list_images
from vision.settings import Section


class Dataset(Section):
    """A version of the data: `dvc_md5` is its name, `labels` in the order of the model's outputs."""

    dvc_md5: str
    commit: str
    files: int
    labels: tuple[str, ...]
    counts: dict[str, int]
    seconds: float

    @property
    def sha(self) -> str:
        return self.dvc_md5.removesuffix(".dir")


@task(name="ingest", cache_policy=NO_CACHE, persist_result=False, tags=["data"])
def ingest(run: Run) -> Dataset:
    """The source's images, in the state folder's DVC repository. Raises `UserError` for a source that can't be used."""
    from vision.data.sources import materialise

    started = time.monotonic()
    with progress("ingest") as bar:
        got = materialise(run.config.data, run.dataset_folder, run.data_root, bar)
    version = add_version(run.state.datasets, run.config.system, run.dvc_remote)
    dataset = Dataset(**version, labels=got.labels, counts=got.counts, seconds=round(time.monotonic() - started, 3))
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "dataset.json").write_text(json.dumps(dataset.model_dump(mode="json"), indent=1))
    return dataset


@task(name="checkout", cache_policy=NO_CACHE, persist_result=False, tags=["data"])
def checkout(run: Run, commit: str, folder: Path) -> Dataset:
    """An earlier version of the data, brought into `folder`. Raises `UserError` for a commit that isn't there."""
    started = time.monotonic()
    version = get_version(run.state.datasets, run.config.system, commit, folder)
    counts = list_images(folder)["label"].value_counts().sort_index()
    counts = {str(label): int(count) for label, count in counts.items()}
    seconds = round(time.monotonic() - started, 3)
    return Dataset(**version, labels=tuple(counts), counts=counts, seconds=seconds)
