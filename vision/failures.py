"""On what a challenger failed: one JSON line each, laid out as prediction records are (`vision.records_log`)."""

import contextlib
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, ValidationError

from vision.records_read import lines, log_files
from vision.settings import Section

FailedRoute = Literal["canary", "shadow", "load"]


class Failure(Section):
    """The champion went on in its place. route `load`: the package could not be taken up; once per worker and release."""

    at: AwareDatetime
    id: str | None = None
    """The champion's answer to the same image; None for `load`, and where the champion had no place or time for it."""
    package_sha: str
    """Of the challenger."""
    model_version: int
    release_no: int
    route: FailedRoute
    error: str


def failure_line(failure: Failure) -> bytes:
    return failure.model_dump_json().encode() + b"\n"


def read_failures(folder: Path, release_no: int | None = None, first_day: int = 0) -> list[Failure]:
    """In order of time; of one release only, where its number is given. Lines that are no failure are left out.

    first_day: day number; earlier days are not looked into.
    """
    found = []
    for file in log_files(folder):
        if file.day < first_day:
            continue
        with contextlib.suppress(FileNotFoundError):
            for row, _ in lines(file.growing.read_bytes()):
                with contextlib.suppress(ValidationError):
                    found.append(Failure.model_validate(row, strict=False))
    return sorted((one for one in found if release_no in (None, one.release_no)), key=lambda one: one.at)
