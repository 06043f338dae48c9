"""The folder that a batch is scored into: what was asked, one file for each finished chunk, and what came out of it.

`batch.json` and `inputs.csv` say what was asked; `scores/<no>.parquet` appears whole when its chunk is finished, and is
then never written again. A killed run is therefore gone on with by scoring the chunks that have no file.
"""

import csv
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vision.errors import MachineError, UserError
from vision.scoring.inputs import inputs_sha
from vision.settings import Section

ASKED, INPUTS, SCORES, SUMMARY = "batch.json", "inputs.csv", "scores", "summary.json"


class Asked(Section):
    """What one folder holds the answers to. Another of any of these needs another folder."""

    system: str
    package_sha: str
    precision: str
    inputs_sha: str
    images: int
    chunk_images: int

    @property
    def chunks(self) -> int:
        return math.ceil(self.images / self.chunk_images)


def open_ledger(folder: Path, asked: Asked, names: Sequence[str]) -> list[int]:
    """Makes or goes on with `folder`; returns the chunks that are not finished, in order.

    Raises `UserError` when the folder holds another batch.
    """
    try:
        (folder / SCORES).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"TO={folder}: {error.strerror}", "a folder that can be written", "choose another TO") from None
    if (folder / ASKED).is_file():
        _check_same(folder, asked)
    else:
        # All quoted: pandas leaves a name with a carriage return bare, and would read two of it.
        pd.DataFrame({"path": names}).to_csv(folder / f".{INPUTS}.partial", index=False, quoting=csv.QUOTE_ALL)
        (folder / f".{INPUTS}.partial").replace(folder / INPUTS)
        _write(folder / ASKED, asked.model_dump_json(indent=1))
    for left in (folder / SCORES).glob(".*.partial"):  # a killed run's
        left.unlink(missing_ok=True)
    return [chunk for chunk in range(asked.chunks) if not chunk_file(folder, chunk).is_file()]


def chunk_file(folder: Path, chunk: int) -> Path:
    return folder / SCORES / f"{chunk:08d}.parquet"


def chunk_names(names: Sequence[str], asked: Asked, chunk: int) -> list[str]:
    return list(names[chunk * asked.chunk_images : (chunk + 1) * asked.chunk_images])


def write_chunk(folder: Path, chunk: int, rows: pa.Table) -> None:
    """Whole or not at all. A chunk that is there stays as it is: whoever was first has scored it."""
    target = chunk_file(folder, chunk)
    partial = target.with_name(f".{target.stem}.{os.getpid()}.partial")
    pq.write_table(rows, partial)
    try:
        os.link(partial, target)
    except FileExistsError:
        pass
    except OSError:  # a disk without links
        partial.replace(target)
    partial.unlink(missing_ok=True)


def count_rows(folder: Path, asked: Asked) -> dict[str, Any]:
    """images, unreadable, and `answers`: how many of each label, over all chunks; one chunk in memory at a time.

    Raises `MachineError` when an image is missing or stands there twice.
    """
    answers, errors, rows, seen = pd.Series(dtype="int64"), 0, 0, set()
    for chunk in range(asked.chunks):
        table = pd.read_parquet(chunk_file(folder, chunk), columns=["path", "answer_label", "error"])
        rows += len(table)
        seen.update(map(hash, table["path"]))
        errors += int(table["error"].notna().sum())
        answers = answers.add(table["answer_label"].value_counts(), fill_value=0)
    if rows != asked.images or len(seen) != asked.images:
        raise MachineError(
            f"{folder / SCORES} holds {rows:,} rows of {len(seen):,} images",
            f"one row for each of {asked.images:,} images",
            "remove that folder and score again",
        )
    counted = {str(label): int(count) for label, count in answers.sort_values(ascending=False).items()}
    return {"images": rows, "unreadable": errors, "answers": counted}


def write_summary(folder: Path, summary: dict[str, Any]) -> Path:
    _write(folder / SUMMARY, json.dumps(summary, indent=1))
    return folder / SUMMARY


def _check_same(folder: Path, asked: Asked) -> None:
    try:
        before = Asked.model_validate_json((folder / ASKED).read_text())
    except ValueError:
        raise UserError(f"{folder / ASKED} can't be read", "a folder of this command", "choose another TO") from None
    if before == asked:
        return
    told = {
        "package": (before.package_sha[:12], asked.package_sha[:12]),
        "precision": (before.precision, asked.precision),
        "list of images": (_list(before), _list(asked)),
        "chunk size": (str(before.chunk_images), str(asked.chunk_images)),
        "system": (before.system, asked.system),
    }
    other = "; ".join(f"{what} {old}, now {new}" for what, (old, new) in told.items() if old != new)
    raise UserError(
        f"TO={folder} holds the answers of another batch: {other}",
        "one package and one list of images in a folder",
        f"choose another TO, or go on with that batch: its list is {folder / INPUTS}",
    )


def _list(asked: Asked) -> str:
    return f"{asked.inputs_sha[:12]} ({asked.images:,} images)"


def ask(system: str, package_sha: str, precision: str, names: Sequence[str], chunk_images: int) -> Asked:
    return Asked(
        system=system, package_sha=package_sha, precision=precision, inputs_sha=inputs_sha(names),
        images=len(names), chunk_images=chunk_images,
    )  # fmt: skip


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    partial.replace(path)
