"""Real errors of real libraries. A limit on the size of files needs no rights and stands in for a full disk; full disks
themselves are mounted by tests/faults/test_machine.py.

/dev/full would not do: safetensors renames a file of its own over its target, and root may replace a device.
"""

import errno
import resource
import sqlite3
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from vision.data.cache import IMAGES, create_cache
from vision.errors import MachineError, UserError
from vision.machine_faults import clear_faults, explained, redacted
from vision.package import InputSpec

TABLE = pd.DataFrame(np.random.default_rng(0).random((30_000, 3)), columns=list("abc"))
TENSOR = torch.rand(300, 300)


def tell(error):
    return str(explained(error, Path("/state/stages/train")))


def caught(work):
    with pytest.raises(Exception) as raised:
        work()
    return raised.value


@contextmanager
def files_up_to(size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text("x" * 200_000),
        lambda path: torch.save({"a": TENSOR}, path),
        lambda path: TABLE.to_parquet(path),
        lambda path: TABLE.to_csv(path),
        lambda path: save_file({"a": TENSOR}, path),
    ],
    ids=["text", "torch", "parquet", "csv", "safetensors"],
)
def test_a_write_that_the_machine_refuses_is_clear_whichever_library_met_it(write, tmp_path):
    with files_up_to(100_000):
        error = caught(lambda: write(tmp_path / "file"))
    assert isinstance(explained(error), MachineError), repr(error)


def test_a_cache_that_does_not_fit_is_refused_before_an_image_is_written(tmp_path):
    rows = pd.DataFrame({"path": ["a.jpg"] * 9, "error": [None] * 9, "split": ["train"] * 9})
    with files_up_to(100_000):
        error = caught(lambda: create_cache(tmp_path, rows, InputSpec(side_px=112, resize_px=128)))
    assert not (tmp_path / IMAGES).exists() and "beyond what this process may write" in tell(error)


def test_a_fault_keeps_its_meaning_through_the_wrappers_of_other_libraries():
    full = OSError(errno.ENOSPC, "No space left on device")
    wrapped = RuntimeError("a worker failed")
    wrapped.worker_failures = {0: full}
    assert "disk of /state/stages/train" in tell(wrapped)
    cause = RuntimeError("task failed")
    cause.__cause__ = ExceptionGroup("all", [ValueError("x"), full])
    assert "disk of /state/stages/train" in tell(cause)
    remote = RuntimeError(
        "ray::map()\nTraceback (most recent call last):\n  File\nOSError: [Errno 28] No space left on device"
    )
    assert "disk of /state/stages/train" in tell(remote)


def test_a_locked_and_a_damaged_database_are_told_apart(tmp_path):
    path = tmp_path / "state.db"
    with sqlite3.connect(path) as holder:
        holder.execute("create table t (a)")
        holder.commit()
        holder.execute("BEGIN EXCLUSIVE")
        error = caught(lambda: sqlite3.connect(path, timeout=0).execute("insert into t values (1)"))
        assert "locked by another process" in tell(error)
    path.write_bytes(b"no database" * 100)
    assert "can't be read" in tell(caught(lambda: sqlite3.connect(path).execute("select * from t")))


def test_a_users_mistake_stays_one_and_what_is_unknown_is_left_alone():
    mistake = UserError("lr = -1", "more than 0", "raise it")
    wrapped = RuntimeError("task failed")
    wrapped.__cause__ = mistake
    assert explained(wrapped) is mistake
    assert explained(KeyError("a")) is None and explained(FileNotFoundError(errno.ENOENT, "no", "a")) is None


def test_a_fault_inside_a_stage_names_where_it_wrote_and_keeps_its_cause(tmp_path):
    with pytest.raises(MachineError, match=str(tmp_path)) as raised, clear_faults(tmp_path), files_up_to(100_000):
        torch.save({"a": TENSOR}, tmp_path / "state.pt")
    assert isinstance(raised.value.__cause__, RuntimeError)


def test_passwords_of_urls_are_not_shown():
    assert redacted("at postgresql://me:hunter2@db/x and http://h/y") == "at postgresql://…@db/x and http://h/y"
