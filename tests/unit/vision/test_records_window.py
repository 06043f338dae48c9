"""A window has the same rows however its files are stored when it is read, and rows of nobody else."""

import pandas as pd
import pytest

from tests.drawn_records import Served
from vision import records_seal, records_window
from vision.records import day_folder, day_number
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


def test_a_sealed_backlog_comes_in_windows_as_well_and_a_watermark_may_lie_inside_a_sealed_file(served, monkeypatch):
    monkeypatch.setattr(records_window, "PIECE_ROWS", 10)
    monkeypatch.setattr(records_seal, "ROWS_A_GROUP", 35)
    _, rows = served.write(80)
    seal_closed(served.folder / "records")
    got, since, sizes = [], START, []
    while True:
        taken = take(served, since, most=25)
        again = take(served, since, until=taken.until)
        assert ids(again) == ids(taken) and again.until == taken.until, "a killed run's window is the same one"
        got, since, sizes = got + ids(taken), taken.until, [*sizes, len(taken.table)]
        if not taken.more:
            break
    assert sizes == [30, 25, 25] and sorted(got) == sorted(rows["id"])
    assert len(take(served, since).table) == 0


def test_a_window_begun_in_a_growing_file_ends_in_it_after_it_was_sealed(served, monkeypatch):
    monkeypatch.setattr(records_window, "PIECE_BYTES", 5000)
    path, rows = served.write(40)
    begun = take(served, most=15)
    seal_closed(served.folder / "records")
    assert not path.is_file() and begun.more
    assert ids(take(served, until=begun.until)) == ids(begun)
    rest = take(served, begun.until)
    assert sorted(ids(begun) + ids(rest)) == sorted(rows["id"])


def test_lines_that_are_no_records_at_the_end_of_a_sealed_file_keep_no_window_open(served):
    path, _ = served.write(5)
    with path.open("ab") as file:
        file.write(b"no record\n")
    seal_closed(served.folder / "records")
    taken = take(served, most=5)
    assert not taken.more and take(served, taken.until).until == taken.until


def test_answers_given_in_shadow_before_a_promotion_are_not_judged_as_served(served):
    path, _ = served.write(6)
    shadow = path.with_name("host-shadow.ndjson")
    shadow.write_bytes(path.read_bytes().replace(b'"route":"champion"', b'"route":"shadow"'))
    taken = take(served)
    assert (len(taken.table), taken.shadow, taken.others) == (6, 6, {})


def test_a_large_backlog_comes_in_windows_that_share_no_row(served, monkeypatch):
    monkeypatch.setattr(records_window, "PIECE_BYTES", 5000)
    wanted = sorted(pd.concat([served.write(40)[1], served.write(40)[1]])["id"])
    got, since = [], START
    while (taken := take(served, since, most=25)).more:
        assert 25 <= len(taken.table) < 40
        got, since = got + ids(taken), taken.until
    assert sorted(got + ids(taken)) == wanted


def test_an_object_that_is_no_record_belongs_to_no_package_also_once_it_was_sealed(served):
    path, _ = served.write(5)
    with path.open("ab") as file:
        file.write(b'{}\n{"package_sha": null}\n')
    growing = take(served)
    seal_closed(served.folder / "records")
    for taken in (growing, take(served)):
        assert (len(taken.table), taken.others, taken.shadow) == (5, {}, 0)


def test_of_a_backlog_no_more_files_are_read_than_the_window_needs(served, monkeypatch):
    for _ in range(5):
        served.write(10)
    read, pieces = [], records_window._pieces
    monkeypatch.setattr(records_window, "_pieces", lambda file, *more: read.append(file) or pieces(file, *more))
    assert take(served, most=15).more and len(read) == 3


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


@pytest.mark.parametrize("days", [-400, 400])
def test_a_clock_that_jumps_hides_no_record_and_shows_none_twice(served, days):
    """What comes after a watermark is told by offsets, not by times."""
    served.write(10)
    since = take(served).until
    path, rows = served.write(4)
    folder = path.parent.with_name(day_folder(day_number() + days))
    folder.mkdir()
    path.rename(folder / path.name)
    jumped = take(served, since)
    assert ids(jumped) == sorted(rows["id"])
    served.write(3)
    assert len(take(served, jumped.until).table) == 3


def test_no_records_are_an_empty_window(tmp_path):
    taken = take_window(tmp_path / "records", START, MINE.package_sha, 100)
    assert len(taken.table) == 0 and taken.until == START and taken.table.attrs["unreadable"] == 0
