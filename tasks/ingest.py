"""Brings the images in and versions them. Runs every time: only looking at the source can tell whether it changed."""

import shutil
import time
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.datasets import add_version, full_commit, get_version
from tasks.progress import progress
from tasks.run import Run
from tasks.stages import write_json
from vision.data.folders import EXTENSIONS
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
    if got.left_out:
        print(told(got.left_out), flush=True)
    version = add_version(run.state.datasets, run.config.system, run.dvc_remote)
    dataset = Dataset(**version, labels=got.labels, counts=got.counts, seconds=round(time.monotonic() - started, 3))
    run.folder.mkdir(parents=True, exist_ok=True)
    write_json(run.folder / "dataset.json", dataset.model_dump(mode="json"))
    return dataset


def _remove_others(run: Run, folder: Path) -> None:
    """Earlier checkouts, but for those that a flow holds: any of them can be made again."""
    for other in folder.parent.glob("*"):
        if other != folder:
            with suppress(Timeout), FileLock(run.folder / f"checkout-{other.name}.lock", timeout=0):
                shutil.rmtree(other, ignore_errors=True)


def told(names: tuple[str, ...]) -> str:
    """What was found beside the images, in one line."""
    named = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
    return f"ingest: {len(names)} left out, not named {', '.join(EXTENSIONS)}: {named}"


def data_version(run: Run, commit: str) -> str:
    """The whole hash of a commit in the data repository. Raises `UserError` for one that isn't there."""
    return full_commit(run.state.datasets, run.config.system, commit)


@task(name="checkout", cache_policy=NO_CACHE, persist_result=False, tags=["data"])
def checkout(run: Run, commit: str, folder: Path) -> Dataset:
    """An earlier version of the data, brought into `folder`. Raises `UserError` for a commit that isn't there."""
    started = time.monotonic()
    _remove_others(run, folder)
    version = get_version(run.state.datasets, run.config.system, commit, folder)
    counts = list_images(folder)["label"].value_counts().sort_index()
    counts = {str(label): int(count) for label, count in counts.items()}
    seconds = round(time.monotonic() - started, 3)
    return Dataset(**version, labels=tuple(counts), counts=counts, seconds=seconds)
