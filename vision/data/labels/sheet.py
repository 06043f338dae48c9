"""The sheet of a label queue, `labels.csv`: written with empty labels, filled by a person, read back line by line."""

import codecs
import contextlib
import csv
import io
import re
import unicodedata
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
SEPARATOR = re.compile(r'"?sep=(.)"?\r?\n', re.IGNORECASE)
"""A first line by which Excel is told the delimiter."""
WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""How .xlsx, .ods and .xls begin."""
DO = "fill the queue's labels.csv, or download it from the queue's page; a spreadsheet saves it as CSV UTF-8"


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
    said, wrong, known = {}, [], {_composed(label): label for label in labels}
    for number, row in _lines(path):
        made, label = (row.get("id") or "").strip(), (row.get("label") or "").strip()
        if not label:
            continue
        label = known.get(_composed(label), label)
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


def written(path: Path) -> set[str]:
    """Ids of the lines with a label of any kind; none of a file that is no sheet."""
    with contextlib.suppress(UserError):
        return {(row.get("id") or "").strip() for _, row in _lines(path) if (row.get("label") or "").strip()}
    return set()


def _composed(label: str) -> str:
    """An umlaut may be one character or two; they look alike."""
    return unicodedata.normalize("NFC", label)


def _lines(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, row). Raises `UserError` for a file that is no sheet."""
    text, skipped = _text(path), 0
    if told := SEPARATOR.match(text):
        text, skipped = text[told.end() :], 1
    head = text.partition("\n")[0]
    delimiter = told[1] if told else max(DELIMITERS, key=head.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        if not {"id", "label"} <= set(reader.fieldnames or ()):
            raise _no_sheet(f"{path}: its first line is {head.strip()[:80]!r}")
        for row in reader:
            yield reader.line_num + skipped, row
    except csv.Error as error:
        raise _no_sheet(f"{path}: line {reader.line_num + skipped + 1}: {error}") from None


def _text(path: Path) -> str:
    """As spreadsheets save it: in UTF-8 or UTF-16, or in the code page of western Windows."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _no_sheet(f"{path} can't be read: {error.strerror}") from None
    if data.startswith(WORKBOOKS):
        raise _no_sheet(f"{path} is a spreadsheet's workbook")
    try:
        text = data.decode(_encoding(data))
    except UnicodeDecodeError:
        raise _no_sheet(f"{path} is no text in UTF-8, UTF-16 or Windows-1252") from None
    if "\0" in text:
        raise _no_sheet(f"{path}: line {text.count(chr(10), 0, text.index(chr(0))) + 1} holds a NUL byte")
    return text


def _encoding(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


def _no_sheet(got: str) -> UserError:
    return UserError(got, "a label queue's labels.csv", DO)
