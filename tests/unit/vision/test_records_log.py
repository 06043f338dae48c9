"""A log of lines: what survives a kill, a full disk, midnight and a hand that removes the file."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vision.records import day_folder, day_number
from vision.records_log import LineLog
from vision.records_read import lines, log_files
from vision.records_seal import drop_old, seal_closed

PROJECT = Path(__file__).resolve().parents[3]
LINE = b'{"id": "x", "at": "2026-11-21T04:55:52Z"}\n'


def log_file(folder: Path) -> Path:
    [path] = folder.rglob("*.ndjson")
    return path


def test_what_threads_append_at_once_stands_in_whole_lines(tmp_path):
    log = LineLog(tmp_path)
    rows = [{"id": number} for number in range(400)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda row: log.append(json.dumps(row).encode() + b"\n"), rows))
    found = [row["id"] for row, _ in lines(log_file(tmp_path).read_bytes())]
    log.close()
    assert sorted(found) == sorted(row["id"] for row in rows)


def test_a_killed_process_loses_nothing_that_it_appended(tmp_path):
    """kill -9 right after `append` returned: no flush, no sync, no farewell."""
    code = f"""
import os, signal, sys
from pathlib import Path
from vision.records_log import LineLog
log = LineLog(Path({str(tmp_path)!r}))
for number in range(500):
    log.append(b'{{"number": %d}}\\n' % number)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False)
    assert done.returncode == -9
    assert [row["number"] for row, _ in lines(log_file(tmp_path).read_bytes())] == list(range(500))


def test_a_new_day_begins_a_new_file_and_the_old_one_is_closed(tmp_path):
    day = [20_000]
    log = LineLog(tmp_path, today=lambda: day[0])
    log.append(LINE)
    day[0] += 1
    log.append(LINE)
    log.sync()
    assert [file.day for file in log_files(tmp_path)] == [20_000, 20_001]
    assert [path.parent.name for path in seal_closed(tmp_path)] == [day_folder(20_000)]
    day[0] += 1
    log.sync()  # Nobody asks any more, and still yesterday's file is let go of.
    assert [path.parent.name for path in seal_closed(tmp_path)] == [day_folder(20_001)]
    log.close()


def test_half_a_line_is_taken_away_again_and_the_next_one_stands(tmp_path, monkeypatch):
    log, write = LineLog(tmp_path), os.write
    log.append(b'{"n": 1}\n')
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:4]))
    with pytest.raises(OSError, match="No space"):
        log.append(b'{"n": 2}\n')
    monkeypatch.setattr(os, "write", write)
    log.append(b'{"n": 3}\n')
    assert log_file(tmp_path).read_text() == '{"n": 1}\n{"n": 3}\n'
    log.close()


def test_a_disk_that_is_full_in_the_middle_of_a_line_leaves_whole_lines(tmp_path):
    """The kernel itself refuses: a limit on file size, which lets a part of the last line through."""
    code = f"""
import resource, signal
from pathlib import Path
from vision.records_log import LineLog
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log, kept = LineLog(Path({str(tmp_path)!r})), 100
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    while True:
        log.append(b'{{"number": %d}}\\n' % kept)
        kept += 1
except OSError:
    print(kept)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
log.append(b'{{"number": 999}}\\n')
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    numbers = [row["number"] for row, _ in lines(log_file(tmp_path).read_bytes())]
    assert numbers == [*range(100, int(done.stdout)), 999]
    assert 1000 % len(b'{"number": 100}\n') != 0  # So there was a part.


def test_a_file_that_was_removed_while_written_is_told_and_replaced(tmp_path):
    log = LineLog(tmp_path)
    log.append(b'{"n": 1}\n')
    log_file(tmp_path).unlink()
    with pytest.raises(FileNotFoundError):
        log.sync()
    log.append(b'{"n": 2}\n')
    assert log_file(tmp_path).read_text() == '{"n": 2}\n'
    log.close()


def test_old_days_go_and_the_others_stay(tmp_path):
    for day in (100, 101, 110):
        (tmp_path / day_folder(day)).mkdir()
        (tmp_path / day_folder(day) / "a.ndjson").write_text("{}\n")
    (tmp_path / "else").mkdir()
    assert drop_old(tmp_path, keep_days=9, today=110) == [day_folder(100)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [day_folder(101), day_folder(110), "else"]


def test_today_is_read_from_the_clock(tmp_path):
    LineLog(tmp_path).append(LINE)
    assert log_file(tmp_path).parent.name in (day_folder(day_number()), day_folder(day_number() - 1))
