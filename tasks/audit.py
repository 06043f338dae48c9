"""The audit log in `state.db`: every change of an alias or a release, written before it is made."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, insert, select

from tasks.tables import make_tables

METADATA = MetaData()
WHY_CHARS = 2000
AUDIT = Table(
    "audit", METADATA,
    Column("no", Integer, primary_key=True, autoincrement=True),
    Column("at", String(32), nullable=False),
    Column("system", String(64), nullable=False, index=True),
    Column("what", String(64), nullable=False),
    Column("version", Integer),
    Column("package_sha", String(64)),
    Column("who", String(128), nullable=False),
    Column("why", String(WHY_CHARS), nullable=False),
)  # fmt: skip


def write_audit(url: str, row: dict[str, Any]) -> int:
    """Appends {system, what, version, package_sha, who, why} and returns its number. `url`: SQLAlchemy's."""
    engine = create_engine(url)
    try:
        make_tables(engine, METADATA)
        with engine.begin() as connection:
            return connection.execute(insert(AUDIT).values(stamped(row))).inserted_primary_key[0]
    finally:
        engine.dispose()


def stamped(row: dict[str, Any]) -> dict[str, Any]:
    """With the time of now; a text that is longer than its column is cut."""
    return {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), **row, "why": row["why"][:WHY_CHARS]}


def read_audit(url: str, system: str) -> list[dict[str, Any]]:
    """The system's rows, oldest first."""
    engine = create_engine(url)
    try:
        make_tables(engine, METADATA)
        with engine.connect() as connection:
            rows = connection.execute(select(AUDIT).where(AUDIT.c.system == system).order_by(AUDIT.c.no))
            return [dict(row._mapping) for row in rows]
    finally:
        engine.dispose()
