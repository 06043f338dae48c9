"""The label queue: served images that are worth a person's label, as a folder with a page, and what comes back from it."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from filelock import FileLock
from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from tasks.data.labels import known_labels, label_places
from tasks.run import Run
from tasks.stages import write_json
from vision.data.features import describe
from vision.data.labels.candidates import Candidates, find_candidates
from vision.data.labels.intake import QUEUE
from vision.data.labels.sheet import QueueItem, write_sheet, written
from vision.data.labels.store import read_labels
from vision.kinds import answering
from vision.monitoring.queue_page import QueuePage, write_page
from vision.monitoring.selection import Chosen, KnownHashes, choose, rank_disagreeing, rank_novel, rank_unsure
from vision.package import open_package
from vision.records_read import read_feedback
from vision.release import package_folder, read_release
from vision.settings import Section

SHEET = "labels.csv"
TAKEN = "taken.json"


class Queued(Section):
    """no: of the queue that was made, None for none and then `why`. waiting: images that had no label before."""

    no: int | None = None
    images: int = 0
    waiting: int = 0
    passed_over: dict[str, int] = {}
    page: str = ""
    why: str = ""

    @property
    def text(self) -> str:
        if self.no is None:
            return f"no new queue: {self.why}"
        passed = "".join(f"; {count} passed over: {reason}" for reason, count in self.passed_over.items() if count)
        return f"queue {self.no}: {self.images} images to label{passed}\n  page: {self.page}"


@task(name="fill_queue", cache_policy=NO_CACHE, persist_result=False, tags=["labels"])
def fill_queue(run: Run) -> Queued:
    """A new queue of images to label, as far as the budget has room; shown as an artifact."""
    made = make_queue(run)
    create_markdown_artifact(key=f"labels-{run.config.system.replace('_', '-')}", markdown=made.text)
    return made


def make_queue(run: Run) -> Queued:
    """`<state>/systems/<system>/queue/<no>/` with `images/`, `labels.csv`, `index.html` and, last, `queue.json`.

    The budget counts images that wait for a label in earlier queues too: people get no more than they can do.
    """
    queue = run.state.queue(run.config.system)
    queue.mkdir(parents=True, exist_ok=True)
    with FileLock(queue / ".lock"):
        items, waiting = queued_items(queue), waiting_images(run, queue)
        room = run.config.label_queue.budget - waiting
        if room < 1:
            return Queued(waiting=waiting, why=f"{waiting} images still wait for a label in {queue}")
        inbox, records = run.state.inbox(run.config.system), run.state.records(run.config.system)
        found = find_candidates(inbox, records, answering(run.config.kind).margin)
        table = _unlabelled(run, found, {item.sha256 for item in items})
        chosen = choose(_rankings(run, table), room, _known_hashes(run, items), lambda made: _hash(run, found, made))
        if not chosen.ids:
            return Queued(waiting=waiting, passed_over=chosen.passed_over, why=_why_none(found, table))
        number = max((int(path.name) for path in queue.iterdir() if path.name.isdigit()), default=0) + 1
        folder = _write_queue(run, queue / str(number), _items(found, chosen), found)
    return Queued(
        no=number, images=len(chosen.ids), waiting=waiting, passed_over=chosen.passed_over,
        page=str(folder / "index.html"),
    )  # fmt: skip


def queue_folders(queue: Path) -> list[Path]:
    """Of the queues that were made whole, the oldest first."""
    return sorted((file.parent for file in queue.glob(f"[0-9]*/{QUEUE}")), key=lambda path: int(path.name))


def queued_items(queue: Path) -> list[QueueItem]:
    """Every image that was ever queued."""
    return [item for folder in queue_folders(queue) for item in read_queue(folder)]


def read_queue(folder: Path) -> list[QueueItem]:
    return [QueueItem(**item) for item in json.loads((folder / QUEUE).read_bytes())["items"]]


def read_taken(folder: Path) -> dict[str, str]:
    """Id -> what was taken in from this queue."""
    return json.loads((folder / TAKEN).read_bytes()) if (folder / TAKEN).is_file() else {}


def waiting_images(run: Run, queue: Path) -> int:
    """Queued images of which nothing was said yet: in a sheet, also one that was not taken in so far, or otherwise."""
    said = set(read_feedback(run.state.feedback(run.config.system))["id"])
    return sum(
        item.id not in known
        for folder in queue_folders(queue)
        for known in [said | set(read_taken(folder)) | written(folder / SHEET)]
        for item in read_queue(folder)
    )


def _unlabelled(run: Run, found: Candidates, queued: set[str]) -> pd.DataFrame:
    """Candidates that nobody has labelled, queued or placed in a split, by content."""
    places = label_places(run.state, run.config.system)
    said = {made for made in read_feedback(places.feedback)["id"] if made in found.images}
    known = queued | {row.sha256 for row in read_labels(places.store)} | {found.images[made].stem for made in said}
    placed = _placed(run)
    return found.table[~found.table["sha256"].isin(known | set(placed["sha256"]))]


def _placed(run: Run) -> pd.DataFrame:
    """sha256 and phash of every image that a version of the data has placed in a split."""
    head = run.folder / "split_head.json"
    if not head.is_file():
        return pd.DataFrame(columns=["sha256", "phash"])
    return pd.read_parquet(run.folder / json.loads(head.read_text())["path"], columns=["sha256", "phash"])


def _known_hashes(run: Run, items: list[QueueItem]) -> KnownHashes:
    placed = _placed(run)
    store = label_places(run.state, run.config.system).store
    fresh = [row for row in read_labels(store) if row.sha256 not in set(placed["sha256"])]
    labelled = [_phash(run, store / row.file) for row in fresh if (store / row.file).is_file()]
    hashes = [*placed["phash"], *labelled, *(item.phash for item in items)]
    return KnownHashes.of(hashes, run.config.label_queue.near_duplicate_bits)


def _rankings(run: Run, table: pd.DataFrame) -> list[Iterator]:
    """In the order in which they take turns: what is surely wrong, what may be wrong, what nobody has tested."""
    if table.empty:
        return []
    rankings = [rank_disagreeing(table), rank_unsure(table)]
    release = read_release(run.release_file)
    if release is not None:
        package = open_package(package_folder(run.release_file, release.champion), release.champion.package_sha)
        own = table[table["package_sha"] == package.package_sha]
        rankings.append(rank_novel(own, pd.read_parquet(package.folder / "reference.parquet")))
    return rankings


def _hash(run: Run, found: Candidates, made: str) -> str | None:
    """None for an image that shows nothing, or whose days in the inbox have just ended."""
    with contextlib.suppress(FileNotFoundError):
        return _phash(run, found.images[made])
    return None


def _phash(run: Run, path: Path) -> str | None:
    return describe(path.read_bytes(), run.config.serving.max_megapixels)["phash"]


def _why_none(found: Candidates, table: pd.DataFrame) -> str:
    if not found.images:
        return "the inbox is empty: clients ask to keep an image with keep=true and a key whose scope allows it"
    if table.empty:
        return f"all {len(found.images)} kept answers are labelled, queued or part of the data already"
    return f"of {len(table)} kept images none is unsure, disputed or novel, or they look like known ones"


def _items(found: Candidates, chosen: Chosen) -> list[QueueItem]:
    rows = found.table.set_index("id")
    return [
        QueueItem(
            id=made,
            file=f"images/{found.images[made].name}",
            sha256=found.images[made].stem,
            phash=phash,
            guess=str(rows.at[made, "answer_label"]),
            confidence=float(rows.at[made, "answer_confidence"]),
            ranking=ranking,
            why=why,
        )
        for made, (ranking, why), phash in zip(chosen.ids, chosen.why, chosen.hashes, strict=True)
    ]


def _write_queue(run: Run, folder: Path, items: list[QueueItem], found: Candidates) -> Path:
    """Aside, then renamed: a queue that has a number is whole."""
    partial = folder.with_name(".partial")
    shutil.rmtree(partial, ignore_errors=True)  # A killed call's.
    (partial / "images").mkdir(parents=True)
    for item in items:
        shutil.copyfile(found.images[item.id], partial / item.file)
    write_sheet(partial / SHEET, items)
    page = QueuePage(title=run.config.title, no=int(folder.name), labels=known_labels(run), items=tuple(items))
    write_page(partial / "index.html", page)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(partial / QUEUE, {"no": page.no, "at": at, "items": [item.model_dump() for item in items]})
    return partial.rename(folder)
