"""Sealing never loses and never doubles a row; a record is found by its id wherever it lies."""

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from uuid6 import uuid7

from vision import records_seal
from vision.data.features import FEATURES
from vision.records import Record, day_folder, day_number, made_at_ms, record_line
from vision.records_find import find_record
from vision.records_log import LineLog
from vision.records_read import read_records
from vision.records_seal import seal_closed


def line(number: int, prediction_id: str | None = None, width: int = 32) -> bytes:
    return record_line(
        {
            "id": prediction_id or str(uuid7()),
            "at": "2026-11-21T04:55:52.123Z",
            "package_sha": "a" * 64,
            "model_version": number,
            "release_no": 1,
            "route": "champion",
            "pair_id": None,
            "client_hash": None,
            "batch_size": 1,
            "queue_ms": 0.1,
            "compute_ms": 2.5,
            "features": dict.fromkeys(FEATURES, 0.25),
            "embedding": np.linspace(-3, 3, width, dtype=np.float32),
            "answer": {"label": "moss"},
            "confidence": 0.9,
            "confident": True,
        }
    )


def fill(folder: Path, numbers: range) -> None:
    log = LineLog(folder)
    for number in numbers:
        log.append(line(number))
    log.close()


def numbers(folder: Path, since=None) -> list[int]:
    table = read_records(folder, since)[0]
    return sorted(table["model_version"]) if len(table) else []


def test_a_file_in_use_is_left_alone_and_a_closed_one_is_sealed(tmp_path):
    log = LineLog(tmp_path)
    log.append(line(0))
    assert seal_closed(tmp_path) == []
    log.close()
    [made] = seal_closed(tmp_path)
    assert made.suffix == ".parquet"
    assert not list(tmp_path.rglob("*.ndjson"))
    assert numbers(tmp_path) == [0]
    assert seal_closed(tmp_path) == []


def test_a_watermark_holds_across_sealing(tmp_path):
    log = LineLog(tmp_path)
    for number in range(5):
        log.append(line(number))
    _, mark = read_records(tmp_path)
    for number in range(5, 8):
        log.append(line(number))
    log.close()
    before, seen_before = read_records(tmp_path, mark)
    seal_closed(tmp_path)
    after, seen_after = read_records(tmp_path, mark)
    assert sorted(after["model_version"]) == sorted(before["model_version"]) == [5, 6, 7]
    assert seen_after == seen_before
    assert numbers(tmp_path, seen_after) == []
    assert list(after.columns) == list(before.columns)


@pytest.mark.parametrize("step", ["write_table", "_sync_folder", "unlink"])
def test_a_kill_between_the_steps_neither_loses_nor_doubles_a_row(tmp_path, monkeypatch, step):
    fill(tmp_path, range(20))

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if step == "write_table":
            patch.setattr("pyarrow.parquet.write_table", killed)
        elif step == "unlink":
            patch.setattr(Path, "unlink", killed)
        else:
            patch.setattr(records_seal, step, killed)
        with pytest.raises(KeyboardInterrupt):
            seal_closed(tmp_path)
    assert numbers(tmp_path) == list(range(20))
    seal_closed(tmp_path)
    assert numbers(tmp_path) == list(range(20))
    assert [path.suffix for path in tmp_path.rglob("*-*.*") if not path.name.startswith(".")] == [".parquet"]


def test_an_empty_file_and_one_of_torn_lines_vanish(tmp_path):
    LineLog(tmp_path).close()
    folder = tmp_path / day_folder(day_number())
    folder.mkdir(exist_ok=True)
    (folder / "h-1-1.ndjson").write_bytes(b"")
    (folder / "h-1-2.ndjson").write_bytes(b'{"id": "torn')
    (folder / "h-1-3.ndjson").write_bytes(b"no json\n")
    seal_closed(tmp_path)
    assert not list(tmp_path.rglob("*.ndjson"))
    assert numbers(tmp_path) == []


def test_sealed_files_are_smaller(tmp_path):
    fill(tmp_path, range(500))
    before = sum(path.stat().st_size for path in tmp_path.rglob("*.ndjson"))
    [made] = seal_closed(tmp_path)
    assert made.stat().st_size < before / 4


@pytest.mark.parametrize("sealed", [False, True])
def test_a_record_is_found_by_its_id_among_many(tmp_path, sealed):
    log, ids = LineLog(tmp_path), []
    for number in range(2000):
        ids.append(str(uuid7()))
        log.append(line(number, ids[-1]))
    log.close()
    if sealed:
        seal_closed(tmp_path)
    for number in (0, 1, 777, 1999):
        found = find_record(tmp_path, ids[number])
        assert found["model_version"] == number
        record = Record.model_validate(found)
        assert record.features["noise"] == 0.25
        assert record.embedding[0] == -3.0
        assert record.answer == {"label": "moss"}
    assert find_record(tmp_path, str(uuid7())) is None


def spread(minutes: int, each: int) -> list[str]:
    """UUIDv7s over many minutes of one day, so that a run past midnight has them in one folder too."""
    noon_ms, made = (day_number() * 24 + 12) * 3_600_000, []
    for minute in range(minutes):
        for number in range(each):
            stamp = noon_ms - (minutes - minute) * 60_000 + number
            text = f"{stamp:012x}7{number:03x}8{os.urandom(7).hex()}0"[:32]
            made.append(f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:32]}")
    return made


def test_bisection_finds_every_id_of_a_long_day_also_past_a_bad_line(tmp_path):
    ids = spread(30, 20)
    folder = tmp_path / day_folder(made_at_ms(ids[0]) // 86_400_000)
    folder.mkdir()
    rows = [line(number, made) for number, made in enumerate(ids)]
    rows[300:300] = [b"no json at all\n", b"{}\n"]
    (folder / "h-1-1.ndjson").write_bytes(b"".join(rows) + b'{"schema":1,"id":"torn')
    assert [find_record(tmp_path, made)["model_version"] for made in ids] == list(range(len(ids)))


def test_a_sealed_record_of_a_narrower_package_is_found_beside_a_wider_one(tmp_path):
    """A release that came in between changed the network."""
    log, widths = LineLog(tmp_path), {str(uuid7()): width for width in (8, 32)}
    for made, width in widths.items():
        log.append(line(1, made, width))
    log.close()
    seal_closed(tmp_path)
    assert {made: len(find_record(tmp_path, made)["embedding"]) for made in widths} == widths


def test_a_record_written_past_midnight_is_found(tmp_path):
    made = str(uuid7())
    log = LineLog(tmp_path, today=lambda: day_number(made_at_ms(made) / 1000) + 1)
    log.append(line(7, made))
    log.close()
    assert find_record(tmp_path, made)["model_version"] == 7


def test_a_reader_beside_writers_and_a_sealer_sees_every_record_once(tmp_path):
    """Two writers whose days fly past, one that seals what they close, one that reads on from its watermark."""
    started, writing, seen, mark = time.monotonic(), threading.Event(), [], None
    writing.set()

    def write(first: int) -> None:
        log = LineLog(tmp_path, today=lambda: int((time.monotonic() - started) * 20))
        for number in range(first, first + 300):
            log.append(line(number))
            if number % 20 == 0:
                log.sync()
                time.sleep(0.01)
        log.close()

    def seal() -> None:
        while writing.is_set():
            seal_closed(tmp_path)

    writers = [threading.Thread(target=write, args=(first,)) for first in (0, 1000)]
    sealer = threading.Thread(target=seal)
    for thread in (*writers, sealer):
        thread.start()
    while any(thread.is_alive() for thread in writers):
        table, mark = read_records(tmp_path, mark)
        seen += table["model_version"].tolist() if len(table) else []
    writing.clear()
    sealer.join()
    seal_closed(tmp_path)
    table, mark = read_records(tmp_path, mark)
    seen += table["model_version"].tolist() if len(table) else []
    assert sorted(seen) == [*range(300), *range(1000, 1300)]
    assert numbers(tmp_path) == sorted(seen)
    assert len(list(tmp_path.rglob("*.parquet"))) > 4
