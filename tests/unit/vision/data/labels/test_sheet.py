"""The sheet of a label queue as people and their spreadsheets give it back."""

import csv

import pytest

from vision.data.labels.sheet import QueueItem, read_sheet, write_sheet
from vision.errors import UserError

LABELS = ("Kraut- und Braunfäule", "gesund", "mancha, negra")
ITEMS = [
    QueueItem(
        id=f"id-{number}", file=f"images/{number}.png", sha256="a" * 64, phash="0" * 16, guess=label, confidence=0.5,
        ranking="low confidence", why="confidence 0.50; margin 0.10",
    )
    for number, label in enumerate(LABELS)
]  # fmt: skip
IDS = {item.id for item in ITEMS}
SAID = {item.id: item.guess for item in ITEMS}


@pytest.fixture
def sheet(tmp_path):
    """Writes the queue's sheet as a spreadsheet saves it, each image labelled as guessed."""

    def save(encoding="utf-8", delimiter=",", end="\r\n", before=""):
        write_sheet(tmp_path / "labels.csv", ITEMS)
        with (tmp_path / "labels.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        with (tmp_path / "saved.csv").open("w", newline="", encoding=encoding) as file:
            file.write(before)
            writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter, lineterminator=end)
            writer.writeheader()
            writer.writerows(row | {"label": row["guess"]} for row in rows)
        return tmp_path / "saved.csv"

    return save


def refused(path):
    with pytest.raises(UserError) as error:
        read_sheet(path, IDS, LABELS)
    return error.value.got


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize(
    ("delimiter", "before"), [(",", ""), (";", ""), ("\t", ""), (";", "sep=;\r\n"), ("|", "sep=|\n")]
)
def test_what_excel_and_its_like_save_is_read(sheet, encoding, delimiter, before):
    assert read_sheet(sheet(encoding, delimiter, before=before), IDS, LABELS) == SAID


def test_old_line_ends_are_read(sheet):
    assert read_sheet(sheet(end="\r"), IDS, LABELS) == SAID


def test_an_umlaut_of_two_characters_is_the_same_label(tmp_path):
    path = tmp_path / "mac.csv"
    path.write_text("id,label\nid-0,Kraut- und Braunfa\u0308ule\n", encoding="utf-8")
    assert read_sheet(path, IDS, LABELS) == {"id-0": LABELS[0]}


def test_a_label_in_an_unknown_code_page_is_named_as_it_was_read(tmp_path):
    path = tmp_path / "mac.csv"
    path.write_bytes("id,label\nid-0,Kraut- und Braunfäule\n".encode("mac_roman"))
    assert "line 2: label 'Kraut- und BraunfŠule'" in refused(path)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"id,label\nid-0,gesund\nid-1,ge\0sund\n", "line 3 holds a NUL byte"),
        ("id,label\nid-0,gesund\n".encode("utf-16-le"), "line 1 holds a NUL byte"),
        (b"id,label\nid-0," + b"x" * 200_000 + b"\n", "line 2: field larger than field limit"),
        (b"x" * 200_000 + b",label\n", "line 1: field larger than field limit"),
        (b"PK\x03\x04\x14\x00", "is a spreadsheet's workbook"),
        (b"id,label\nid-0,\x81\n", "is no text in UTF-8, UTF-16 or Windows-1252"),
        (b"", "its first line is ''"),
    ],
    ids=["NUL", "UTF-16 without a mark", "huge field", "huge head", "workbook", "binary", "empty"],
)
def test_what_is_no_sheet_is_one_clear_message(tmp_path, data, says):
    (tmp_path / "mine.csv").write_bytes(data)
    assert says in refused(tmp_path / "mine.csv")
