"""What people wrote into a label queue's sheet, or drew on its images, becomes feedback, and so labelled images."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.data.label_queue import SHEET, TAKEN, queue_folders, read_queue, read_taken
from tasks.data.labels import collect_labels, known_labels, model_labels, told_labels
from tasks.run import Run
from tasks.stages import write_json
from vision.data.labels.drawings import DRAWINGS, Drawn, read_drawings
from vision.data.labels.sheet import SKIP, QueueItem, read_sheet
from vision.errors import UserError
from vision.kinds import answering
from vision.records import QUEUE_KEY, Feedback, SaidBox, feedback_line
from vision.records_log import LineLog
from vision.settings import Section


class Word(NamedTuple):
    """What somebody said of one image. boxes: where nobody drew them, None."""

    label: str
    boxes: tuple[SaidBox, ...] | None = None

    @property
    def mark(self) -> str:
        """By which another word is told from it."""
        return self.label if self.boxes is None else f"{self.label} {[(one.label, *one.box) for one in self.boxes]}"


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
    """Of queue `no`, from `sheet` (a table, or a COCO file with boxes) in place of its own; of all queues where no number is given.

    All are read before anything is taken. A word taken twice counts once; a changed one is taken again.
    Raises `UserError` for a queue that isn't there, a sheet with wrong lines and boxes that can't be: then nothing is taken.
    """
    queue = run.state.queue(run.config.system)
    queue.mkdir(parents=True, exist_ok=True)
    with FileLock(queue / ".lock"):
        said = {folder: _words(run, folder, sheet) for folder in _asked(queue, no, sheet)}
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


def _words(run: Run, folder: Path, sheet: Path | None) -> dict[str, Word]:
    """Id -> what was said of its image."""
    items, found = read_queue(folder), {}
    is_drawing = sheet is not None and sheet.suffix.lower() == ".json"
    if not is_drawing:
        written = read_sheet(sheet or folder / SHEET, {item.id for item in items}, known_labels(run))
        found = {made: Word(label) for made, label in written.items()}
    drawing = sheet if is_drawing else folder / DRAWINGS
    if is_drawing or drawing.is_file():
        drawn, by_id = read_drawings(drawing, folder, items), {item.id: item for item in items}
        found |= {made: _drawn_word(run, drawing, one, by_id[made], found.get(made)) for made, one in drawn.items()}
    return found


def _drawn_word(run: Run, path: Path, drawn: Drawn, item: QueueItem, written: Word | None) -> Word:
    """Called as the sheet says; where it says nothing as the model did, if it was right. Raises `UserError`."""
    names = [box.label for box in drawn.boxes]
    label = written.label if written else item.guess if item.guess in names else names[0]
    width, height = drawn.size_px
    boxes, answer = [box.model_dump() for box in drawn.boxes], {"width_px": width, "height_px": height}
    wrong = answering(run.config.kind).wrong_boxes(boxes, label, answer, model_labels(run))
    if wrong is not None:
        raise UserError(f"{path}: {drawn.file}: {wrong[0]}", wrong[1], "correct it and take it again")
    return Word(label, drawn.boxes)


def _append(run: Run, folder: Path, words: dict[str, Word]) -> int:
    """Feedback of what is new in these words. Killed between the two files, it says the same words once more."""
    taken = read_taken(folder)
    fresh = {made: word for made, word in words.items() if taken.get(made) != word.mark}
    log = LineLog(run.state.feedback(run.config.system))
    for made, word in fresh.items():
        if word.label != SKIP or word.label in known_labels(run):
            said = {"id": made, "label": word.label, "boxes": word.boxes, "key_id": f"{QUEUE_KEY}{folder.name}"}
            log.append(feedback_line(Feedback(at=datetime.now(UTC), **said)))
    log.close()
    if fresh:
        write_json(folder / TAKEN, taken | {made: word.mark for made, word in fresh.items()})
    return len(fresh)
