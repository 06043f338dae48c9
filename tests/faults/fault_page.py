"""docs/faults.md as data: one row a fault, read from the page and written to it."""

import re
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

PAGE = Path(__file__).resolve().parents[2] / "docs" / "faults.md"
AREAS = ("Images", "Datasets", "Config", "Machine", "Services", "Kills", "Requests", "Monitor", "Release")
INTRO = """# What goes wrong, and what happens then

Each row is a test under `tests/faults/`. The page is written by them (`make faults`), and they fail when what they
see is not what stands here. **Exit**: of the command, as DESIGN 5 gives it (0 done, 1 the machine's fault, 2 a user's
mistake, 3 a verdict against); for requests the HTTP status; – where no command ends. Times, hashes and folders are
left out (…).
"""
HEADER = "| what is wrong | exit | what is said | what is kept | test |\n|---|---|---|---|---|\n"


@dataclass(frozen=True)
class Row:
    area: str
    given: str
    exit: str
    says: str
    kept: str
    test: str

    @property
    def key(self) -> tuple[str, str]:
        return self.area, self.given


def plain(text: str, folders: tuple[str, ...] = ()) -> str:
    """`text` in one table cell, without what differs between two runs: folders, hashes, times, process ids."""
    for folder in sorted(folders, key=len, reverse=True):
        text = text.replace(folder, "…")
    text = re.sub(r"\b(?=[0-9a-f]*\d)[0-9a-f]{8,64}\b", "…", text)
    text = re.sub(r"\b\d+(\.\d+)? (s|ms|GB|MB|GiB|MiB)\b", r"… \2", text)
    text = re.sub(r"\bpid \d+", "pid …", text)
    lines = (" ".join(line.split()) for line in text.strip().splitlines())
    return "<br>".join(line for line in lines if line).replace("|", "¦")


def read(page: Path = PAGE) -> dict[tuple[str, str], Row]:
    rows, area = {}, ""
    for line in page.read_text().splitlines() if page.is_file() else ():
        if line.startswith("## "):
            area = line[3:]
        elif line.startswith("| ") and not line.startswith("| what is wrong"):
            row = Row(area, *(cell.strip() for cell in line.strip("|").split("|")))
            rows[row.key] = row
    return rows


def write(rows: dict[tuple[str, str], Row], page: Path = PAGE) -> None:
    parts = [INTRO]
    for area in AREAS:
        of_area = sorted((row for row in rows.values() if row.area == area), key=lambda row: (row.test, row.given))
        lines = [f"| {row.given} | {row.exit} | {row.says} | {row.kept} | {row.test} |" for row in of_area]
        if lines:
            parts.append(f"\n## {area}\n\n{HEADER}" + "\n".join(lines) + "\n")
    page.write_text("".join(parts))


def put(row: Row, page: Path = PAGE) -> None:
    """Adds or replaces one row; several test processes may do so at once."""
    with FileLock(f"{page}.lock"):
        write({**read(page), row.key: row}, page)


def keep_only(tests: set[str], page: Path = PAGE) -> None:
    """Drops the rows whose test is gone."""
    with FileLock(f"{page}.lock"):
        write({key: row for key, row in read(page).items() if row.test in tests}, page)
