"""The sheet of a label queue, `labels.csv`: written with empty labels, filled by a person, read back line by line."""

import csv
import io
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from vision.errors import UserError
from vision.settings import Section

COLUMNS = ("id", "file", "guess", "confidence", "why", "label")
SKIP = "skip"
"""Instead of a label: nobody can tell. The image is not asked for again and not trained on."""
NAMED = 10
DELIMITERS = ",;\t"
"""Spreadsheets write another one than they read."""


class QueueItem(Section):
    """One image to label. id: of the prediction. file: relative to the queue. ranking and why: what it was chosen for."""

    id: str
    file: str
    sha256: str
    phash: str
    guess: str
    confidence: float
    ranking: str
    why: str


def write_sheet(path: Path, items: Sequence[QueueItem]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for item in items:
            why = f"{item.ranking}: {item.why}"
            writer.writerow((item.id, item.file, item.guess, f"{item.confidence:.4f}", why, ""))


def read_sheet(path: Path, ids: Collection[str], labels: Collection[str]) -> dict[str, str]:
    """Id -> label (or `skip`) of the lines that have one.

    ids: of the queue. Raises `UserError` that names every wrong line, at most ten; then nothing of the sheet is taken.
    """
    said, wrong = {}, []
    for number, row in _lines(path):
        made, label = (row.get("id") or "").strip(), (row.get("label") or "").strip()
        if not label:
            continue
        if made not in ids:
            wrong.append(f"line {number}: id {made!r} is not in this queue")
        elif label not in labels and label != SKIP:
            wrong.append(f"line {number}: label {label!r}")
        elif said.setdefault(made, label) != label:
            wrong.append(f"line {number}: {made} is called {label!r} here and {said[made]!r} before")
    if wrong:
        more = f"\n  and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        raise UserError(
            f"{path}: nothing is taken\n  " + "\n  ".join(wrong[:NAMED]) + more,
            f"for each id of the queue one of {', '.join(sorted(labels))}, {SKIP} (nobody can tell), or nothing yet",
            "correct these lines and take it again",
        )
    return said


def _lines(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, row). Raises `UserError` for a file that is no sheet."""
    do = "fill the queue's labels.csv, or download it from the queue's page"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}", "a label queue's labels.csv", do) from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is no text in UTF-8", "a label queue's labels.csv", do) from None
    head = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(DELIMITERS, key=head.count))
    if not {"id", "label"} <= set(reader.fieldnames or ()):
        raise UserError(f"{path}: its first line is {head.strip()[:80]!r}", ",".join(COLUMNS), do)
    for row in reader:
        yield reader.line_num, row
