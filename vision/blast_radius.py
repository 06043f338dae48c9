"""From one image or one label forwards: data versions, splits, trainings, packages, and the predictions that they served.

Reads what stages, packages, services and people left in files; of a table of images only the rows asked for, of the
records one file at a time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from vision.data.labels.candidates import notes_of_day
from vision.data.labels.store import LabelRow, read_labels
from vision.dvc_files import versions
from vision.passport import Places
from vision.records import folder_day
from vision.records_read import record_tables
from vision.settings import Section
from vision.stage_files import finished

SPLITS = "splits.parquet"


@dataclass(frozen=True)
class Sought:
    """One of: sha256 of an image's file, its path in the data set (`images/<label>/<file>`), or a label."""

    column: str
    value: str


class DataUse(Section):
    """A split of one data version that has images sought. images: by split; `left_out` for those in none."""

    dvc_md5: str
    commit: str | None
    split_sha: str
    images: dict[str, int]


class TrainingUse(Section):
    """A training on such a split, or one that went on from a package of such a training (`through`), whatever its own data.

    package_sha: None where none was made or it is not on this machine. system: whose training; another one's may have begun with
    a package of this one's.
    """

    system: str
    train_stage: str
    run_id: str | None
    at: str
    split_sha: str | None
    package_sha: str | None = None
    through: str | None = None


class Served(Section):
    """What a package answered, by route."""

    package_sha: str
    model_versions: tuple[int, ...]
    releases: tuple[int, ...]
    predictions: dict[str, int]
    first_at: datetime
    last_at: datetime


class BlastRadius(Section):
    """seen_in: predictions of that very image, as far as it was kept. labelled: who labelled it."""

    sought: str
    data: tuple[DataUse, ...] = ()
    trainings: tuple[TrainingUse, ...] = ()
    served: tuple[Served, ...] = ()
    seen_in: tuple[str, ...] = ()
    labelled: tuple[LabelRow, ...] = ()

    @property
    def packages(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one.package_sha for one in self.trainings if one.package_sha))


def blast_radius(
    sought: Sought, places: Places, datasets: Path, inbox: Path, labelled: Path, others: Sequence[Places] = ()
) -> BlastRadius:
    """datasets: the data repository. inbox, labelled: folders of the system, which need not be there. others: systems that may
    have begun with this one's packages."""
    data = tuple(_data(sought, places, datasets))
    trainings = tuple(_trainings({use.split_sha for use in data}, (places, *others)))
    made = BlastRadius(sought=f"{sought.column} {sought.value}", data=data, trainings=trainings)
    rows = [row for row in read_labels(labelled) if getattr(row, sought.column, None) == sought.value]
    return made.model_copy(
        update={
            "served": tuple(
                one for at in (places, *others) for one in _served(_packages(trainings, at.system), at.records)
            ),
            "seen_in": tuple(_seen(inbox, sought.value)) if sought.column == "sha256" else (),
            "labelled": tuple(rows),
        }
    )


def image_sha(sought: Sought, places: Places) -> str | None:
    """sha256 of the image with this path in the latest split that has it."""
    for stage in finished(places.stages / "split"):
        rows = _rows(stage["folder"], sought, ["sha256"])
        if rows:
            return rows[0]["sha256"]
    return None


def _data(sought: Sought, places: Places, datasets: Path) -> Iterator[DataUse]:
    """In the order in which the splits were made."""
    md5_of = {
        stage["made"]["manifest_sha"]: stage["inputs"]["dvc_md5"] for stage in finished(places.stages / "describe")
    }
    commit_of = {md5: commit for commit, _, md5 in versions(datasets, places.system)}
    for stage in reversed(list(finished(places.stages / "split"))):
        images: dict[str, int] = {}
        for row in _rows(stage["folder"], sought, ["split"]):
            name = row["split"] or "left_out"
            images[name] = images.get(name, 0) + 1
        if images:
            md5 = md5_of.get(stage["inputs"]["manifest_sha"], "unknown")
            split_sha = stage["made"]["split_sha"]
            yield DataUse(dvc_md5=md5, commit=commit_of.get(md5), split_sha=split_sha, images=images)


def _rows(folder: Path, sought: Sought, columns: list[str]) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    path = folder / SPLITS
    if not path.is_file():
        return []
    return pq.read_table(path, columns=columns, filters=[(sought.column, "==", sought.value)]).to_pylist()


def _trainings(splits: set[str], systems: Sequence[Places]) -> Iterator[TrainingUse]:
    stages = [{**stage, "system": at.system} for at in systems for stage in _learned(at.stages)]
    touched: set[str] = set()
    # By the time that they say themselves: a copied state folder has other file times.
    for stage in sorted(stages, key=lambda stage: stage["at"]):
        began = (stage["made"].get("weights") or {}).get("package_sha")
        if stage["split_sha"] in splits or began in touched:
            for sha in stage["packages"] or [None]:
                touched |= {sha} - {None}
                yield TrainingUse(
                    system=stage["system"], train_stage=stage["key"], run_id=stage["made"].get("run_id"), at=stage["at"],
                    split_sha=stage["split_sha"], package_sha=sha, through=None if stage["split_sha"] in splits else began,
                )  # fmt: skip


def _learned(stages: Path) -> Iterator[dict[str, Any]]:
    """One system's trainings, each with its `split_sha`, and the `packages` that were made of it."""
    caches = {stage["key"]: stage["inputs"]["split_sha"] for stage in finished(stages / "cache")}
    packages: dict[str, list[str]] = {}
    for stage in finished(stages / "export"):
        if sha := stage["made"].get("package_sha"):
            packages.setdefault(stage["inputs"].get("model"), []).append(sha)
    for stage in finished(stages / "train"):
        split_sha = caches.get(stage["inputs"].get("cache"))
        yield {**stage, "split_sha": split_sha, "packages": packages.get(stage["key"], [])}


def _packages(trainings: Sequence[TrainingUse], system: str) -> set[str]:
    return {one.package_sha for one in trainings if one.package_sha and one.system == system}


def _served(packages: set[str], records: Path) -> Iterator[Served]:
    import pandas as pd

    if not packages:  # of a busy system, reading all that it answered takes long
        return

    columns = ["package_sha", "route", "model_version", "release_no"]
    parts = []
    for table in record_tables(records):
        own = table[table["package_sha"].isin(packages)]
        if len(own):
            parts.append(own.groupby(columns)["at"].agg(["size", "min", "max"]).reset_index())
    if not parts:
        return
    for sha, rows in pd.concat(parts).groupby("package_sha", sort=False):
        yield Served(
            package_sha=sha,
            model_versions=tuple(sorted({int(version) for version in rows["model_version"]})),
            releases=tuple(sorted({int(number) for number in rows["release_no"]})),
            predictions={str(route): int(count) for route, count in rows.groupby("route")["size"].sum().items()},
            first_at=rows["min"].min(),
            last_at=rows["max"].max(),
        )


def _seen(inbox: Path, sha: str) -> Iterator[str]:
    """Notes are only read of days whose folder has the image."""
    for image in sorted(inbox.glob(f"dt=*/{sha}.*")):
        if folder_day(image.parent.name) is not None:
            yield from (made for made, kept in notes_of_day(image.parent) if kept == image)
