"""Every release that there ever was, in `state.db`: its document, who made it, by which step, on which evidence.

A row is written before its release takes effect, in one transaction with its audit rows, and its number is taken once:
so a change is made by one of two who want it, and what a crash cut short is known and finished.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Column, Integer, String, Table, Text, create_engine, insert, select, update
from sqlalchemy.exc import IntegrityError

from tasks.audit import AUDIT, METADATA, stamped
from tasks.tables import make_tables
from vision.errors import MachineError
from vision.release import Release
from vision.settings import Section

Move = Literal["first", "shadow", "canary", "promote", "rollback", "restored", "found"]
"""found: a release file that the table did not know. restored: the registry had been wiped."""

RELEASES = Table(
    "releases", METADATA,
    Column("system", String(64), primary_key=True),
    Column("no", Integer, primary_key=True, autoincrement=False),
    Column("at", String(32), nullable=False),
    Column("step", String(16), nullable=False),
    Column("who", String(128), nullable=False),
    Column("document", Text, nullable=False),
    Column("evidence", Text, nullable=False),
)  # fmt: skip


class ReleaseRow(Section):
    """One release. `at`: when the row was written. `evidence`: what the step was taken on, {} where on none."""

    system: str
    no: int
    at: datetime
    step: Move
    who: str
    document: Release
    evidence: dict[str, Any] = {}


class Taken(MachineError):
    """Somebody else made the release of this number."""


def add_release(url: str, row: ReleaseRow, audit: Sequence[dict[str, Any]] = ()) -> None:
    """The row and its audit rows, all or none. Raises `Taken` when the system has a release of this number."""
    engine = create_engine(url)
    try:
        values = row.model_dump(mode="json", exclude={"document", "evidence"}) | {
            "document": row.document.model_dump_json(),
            "evidence": json.dumps(row.evidence, allow_nan=False),
        }
        make_tables(engine, METADATA)
        with engine.begin() as connection:
            connection.execute(insert(RELEASES).values(values))
            for entry in audit:
                connection.execute(insert(AUDIT).values(stamped(entry)))
    except IntegrityError:
        raise Taken(
            f"release {row.no} of {row.system} was made by someone else just now",
            "one change of a release at a time",
            "look at the release and decide anew",
        ) from None
    finally:
        engine.dispose()


def add_evidence(url: str, row: ReleaseRow, more: dict[str, Any]) -> None:
    """To what was written with the row: what became known since."""
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            mine = (RELEASES.c.system == row.system) & (RELEASES.c.no == row.no)
            known = json.dumps({**row.evidence, **more}, allow_nan=False)
            connection.execute(update(RELEASES).where(mine).values(evidence=known))
    finally:
        engine.dispose()


def read_releases(url: str, system: str) -> tuple[ReleaseRow, ...]:
    """The system's, in order of their numbers."""
    engine = create_engine(url)
    try:
        make_tables(engine, METADATA)
        with engine.connect() as connection:
            found = connection.execute(select(RELEASES).where(RELEASES.c.system == system).order_by(RELEASES.c.no))
            return tuple(_row(dict(row._mapping)) for row in found)
    finally:
        engine.dispose()


def release_row(document: Release, system: str, step: Move, who: str, evidence: dict[str, Any]) -> ReleaseRow:
    """A row of now."""
    now = datetime.now(UTC)
    return ReleaseRow(system=system, no=document.no, at=now, step=step, who=who, document=document, evidence=evidence)


def _row(values: dict[str, Any]) -> ReleaseRow:
    return ReleaseRow(
        **values
        | {
            "document": Release.model_validate_json(values["document"]),
            "evidence": json.loads(values["evidence"]),
        }
    )
