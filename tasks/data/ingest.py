"""Brings the images in and versions them. Runs every time: only looking at the source can tell whether it changed."""

import shutil
import time
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.data.datasets import add_version, full_commit, get_version
from tasks.data.labels import collect_labels, label_places, told_labels
from tasks.progress import progress
from tasks.run import Run
from tasks.stages import write_json
from vision.data.boxes.annotations import annotated_labels
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
    labelled: int = 0
    """Images of it that people labelled after they were served."""
    labelled_sha: str | None = None
    """Of the store of labelled images that it was made with; None for an earlier version that was checked out."""
    seconds: float

    @property
    def sha(self) -> str:
        return self.dvc_md5.removesuffix(".dir")


@task(name="ingest", cache_policy=NO_CACHE, persist_result=False, tags=["data"])
def ingest(run: Run) -> Dataset:
    """The source's images and those that people labelled since, in the state folder's DVC repository.

    Raises `UserError` for a source that can't be used.
    """
    from vision.data.sources import materialise

    started, places = time.monotonic(), label_places(run.state, run.config.system)
    with places.lock(), progress("ingest") as bar:
        labels = collect_labels(run)
        got = materialise(run.config.data, run.dataset_folder, run.data_root, bar, places.store)
    for line in (told(got.left_out), told_labels(labels), told_conflicts(got.conflicts), *told_notes(got.notes)):
        if line:
            print(line, flush=True)
    version = add_version(run.state.datasets, run.config.system, run.dvc_remote)
    seconds = round(time.monotonic() - started, 3)
    dataset = Dataset(
        **version, labels=got.labels, counts=got.counts, labelled=got.labelled, labelled_sha=labels.sha, seconds=seconds
    )
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
    """What was found beside the images, in one line; nothing for no names."""
    if not names:
        return ""
    named = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
    return f"ingest: {len(names)} left out, not named {', '.join(EXTENSIONS)}: {named}"


def told_notes(notes: tuple[str, ...]) -> list[str]:
    return [f"ingest: {note}" for note in notes]


def told_conflicts(conflicts: tuple[tuple[str, str, str], ...]) -> str:
    """Images of the source that people call otherwise, in one line: the source is not overruled, and nothing is lost."""
    if not conflicts:
        return ""
    named = ", ".join(f"{path} is {said}" for path, _, said in conflicts[:3]) + (" …" if len(conflicts) > 3 else "")
    return f"labels: {len(conflicts)} say otherwise of an image of the source, which stays as it is: {named}"


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
    return Dataset(**version, labels=annotated_labels(folder) or tuple(counts), counts=counts, seconds=seconds)
