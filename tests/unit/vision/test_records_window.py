"""A window has the same rows however its files are stored when it is read, and rows of nobody else."""

import pandas as pd
import pytest

from tests.drawn_records import Served
from vision import records_window
from vision.records_read import Watermark, read_records
from vision.records_seal import seal_closed
from vision.records_window import take_window
from vision.release import ReleasedModel

MINE, OTHER = (ReleasedModel(version=n, package_sha=str(n) * 64, uri="x") for n in (1, 2))
START = Watermark()


@pytest.fixture
def served(tmp_path):
    return Served(tmp_path, MINE)


def take(served, since=START, most=10_000, until=None):
    return take_window(served.folder / "records", since, MINE.package_sha, most, until)


def ids(taken):
    return sorted(taken.table["id"])


def test_it_has_the_columns_and_values_that_all_readers_have(served):
    served.write(30)
    taken, (plain, until) = take(served), read_records(served.folder / "records")
    pd.testing.assert_frame_equal(taken.table, plain[list(taken.table)], check_like=True)
    assert {"id", "brightness", "answer_label", "e31"} <= set(taken.table) and "answer" not in taken.table
    assert taken.until == until and not taken.more


def test_the_same_two_watermarks_give_the_same_rows_after_more_came_and_files_were_sealed(served):
    served.write(20)
    first = take(served)
    path, _ = served.write(20)
    second = take(served, first.until)
    with path.open("ab") as file:
        file.write(path.read_bytes().splitlines(keepends=True)[0])
    seal_closed(served.folder / "records")
    served.write(5)
    assert ids(take(served, until=first.until)) == ids(first)
    again = take(served, first.until, until=second.until)
    assert ids(again) == ids(second) and again.until == second.until
    assert len(take(served, second.until).table) == 6


def test_a_file_that_is_larger_than_a_piece_is_read_whole_and_once(served, monkeypatch):
    monkeypatch.setattr(records_window, "PIECE_BYTES", 1500)
    _, rows = served.write(50)
    taken = take(served)
    assert ids(taken) == sorted(rows["id"])
    assert ids(take(served, until=taken.until)) == ids(taken)


def test_a_large_backlog_comes_in_windows_that_share_no_row(served, monkeypatch):
    monkeypatch.setattr(records_window, "PIECE_BYTES", 5000)
    wanted = sorted(pd.concat([served.write(40)[1], served.write(40)[1]])["id"])
    got, since = [], START
    while (taken := take(served, since, most=25)).more:
        assert 25 <= len(taken.table) < 40
        got, since = got + ids(taken), taken.until
    assert sorted(got + ids(taken)) == wanted


def test_rows_of_another_package_are_counted_and_left_out(served):
    served.write(20)
    served.write(7, model=OTHER)
    taken = take(served)
    assert len(taken.table) == 20 and taken.others == {OTHER.package_sha: 7}


def test_a_torn_last_line_waits_and_a_line_that_is_no_record_is_counted(served):
    path, rows = served.write(10)
    data = path.read_bytes()
    path.write_bytes(data[:-30])
    first = take(served)
    assert len(first.table) == 9
    path.write_bytes(data + b"no record\n[1]\n")
    second = take(served, first.until)
    assert ids(second) == [rows["id"].iloc[-1]] and second.table.attrs["unreadable"] == 2


def test_days_that_retention_took_leave_no_trace_in_the_watermark(served):
    path, _ = served.write(10)
    since = take(served).until
    path.unlink()
    served.write(3)
    taken = take(served, since)
    assert len(taken.table) == 3 and len(taken.until.offsets) == 1


def test_no_records_are_an_empty_window(tmp_path):
    taken = take_window(tmp_path / "records", START, MINE.package_sha, 100)
    assert len(taken.table) == 0 and taken.until == START and taken.table.attrs["unreadable"] == 0
