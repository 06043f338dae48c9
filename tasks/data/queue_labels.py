"""What people wrote into a label queue's sheet becomes feedback, and so labelled images."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.data.label_queue import SHEET, TAKEN, queue_folders, read_queue, read_taken
from tasks.data.labels import collect_labels, known_labels, told_labels
from tasks.run import Run
from tasks.stages import write_json
from vision.data.label_sheet import SKIP, read_sheet
from vision.errors import UserError
from vision.records import QUEUE_KEY, Feedback, feedback_line
from vision.records_log import LineLog
from vision.settings import Section


class Taken(Section):
    """Labels taken in by queue, those that were new. `store`: what the store of labelled images says."""

    queues: dict[str, int] = {}
    store: str = ""

    @property
    def text(self) -> str:
        told = [f"{count} labels taken from queue {no}" for no, count in self.queues.items() if count]
        return "\n".join([*(told or ["no new labels in any queue"]), *([self.store] if self.store else [])])


@task(name="take_labels", cache_policy=NO_CACHE, persist_result=False, tags=["labels"])
def take_labels(run: Run, no: int | None = None, sheet: Path | None = None) -> Taken:
    """What people wrote into the sheets, as feedback and in the store of labelled images. Raises as `take_sheets`."""
    return take_sheets(run, no, sheet)


def take_sheets(run: Run, no: int | None = None, sheet: Path | None = None) -> Taken:
    """Of queue `no`, from `sheet` in place of its own; of all queues where no number is given.

    All sheets are read before anything is taken. A label taken twice counts once; a changed one is taken again.
    Raises `UserError` for a queue that isn't there and for a sheet with wrong lines: then nothing is taken.
    """
    queue = run.state.queue(run.config.system)
    queue.mkdir(parents=True, exist_ok=True)
    with FileLock(queue / ".lock"):
        folders, labels = _asked(queue, no, sheet), known_labels(run)
        said = {
            folder: read_sheet(sheet or folder / SHEET, {item.id for item in read_queue(folder)}, labels)
            for folder in folders
        }
        counts = {folder.name: _append(run, folder, words) for folder, words in said.items()}
    return Taken(queues=counts, store=told_labels(collect_labels(run)))


def _asked(queue: Path, no: int | None, sheet: Path | None) -> Sequence[Path]:
    folders = queue_folders(queue)
    if sheet is not None and no is None:
        raise UserError(f"--sheet {sheet} without a queue", "--take and the number of its queue", "add --take")
    if no is None:
        return folders
    if chosen := [folder for folder in folders if folder.name == str(no)]:
        return chosen
    known = ", ".join(folder.name for folder in folders) or "none yet"
    raise UserError(f"no label queue {no} in {queue}", f"one of: {known}", "name one, or make one (make queue)")


def _append(run: Run, folder: Path, words: dict[str, str]) -> int:
    """Feedback of what is new in these words. Killed between the two files, it says the same words once more."""
    taken = read_taken(folder)
    fresh = {made: label for made, label in words.items() if taken.get(made) != label}
    log = LineLog(run.state.feedback(run.config.system))
    for made, label in fresh.items():
        if label != SKIP or label in known_labels(run):
            word = Feedback(id=made, label=label, at=datetime.now(UTC), key_id=f"{QUEUE_KEY}{folder.name}")
            log.append(feedback_line(word))
    log.close()
    if fresh:
        write_json(folder / TAKEN, taken | fresh)
    return len(fresh)
