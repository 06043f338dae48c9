"""The tables of the governor in `state.db`, and turns on them: plain SQL, the same on SQLite and on PostgreSQL."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Double,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from tasks.tables import make_tables

METADATA = MetaData()
WINDOW_CHARS, TEXT_CHARS = 128, 1000
HASH_CHARS = 16
TURNS = Table(
    "governor", METADATA,
    Column("system", String(64), primary_key=True),
    Column("turn", Integer, nullable=False),
    Column("clock", Double, nullable=False),
)  # fmt: skip
REQUESTS = Table(
    "training_requests", METADATA,
    Column("no", Integer, primary_key=True, autoincrement=True),
    Column("system", String(64), nullable=False, index=True),
    Column("at", Double, nullable=False),
    Column("window", String(WINDOW_CHARS)),
    Column("reason", String(TEXT_CHARS), nullable=False),
    Column("automatic", Boolean, nullable=False),
    Column("state", String(16), nullable=False),
    Column("why", String(TEXT_CHARS), nullable=False),
    Column("lease_until", Double, nullable=False),
    Column("ended_at", Double),
    Column("labels", Integer),
)  # fmt: skip
TURN_TRIES = 200
"""Each lost turn is another's win, so more than could ever ask at once."""
LOCK_S = 15.0
"""How long a SQLite file may be held by another process."""

State = Literal["refused", "granted", "sent", "training", "ended", "rejected", "failed", "lost"]
"""ended: with a model that passed. rejected: it ran to its end, and data or model did not pass. failed: it broke off."""
OPEN: tuple[State, ...] = ("granted", "sent", "training")
T = TypeVar("T")
Work = Callable[[Connection, float], T]


@dataclass(frozen=True)
class Request:
    """A row of `training_requests`. Times are seconds since 1970. labels: labelled images that the training took in."""

    no: int
    system: str
    at: float
    window: str | None
    reason: str
    automatic: bool
    state: State
    why: str
    lease_until: float
    ended_at: float | None
    labels: int | None


def in_turn(url: str, system: str, now: float, work: Work[T]) -> T:
    """`work(connection, clock)` alone, in one transaction: who finds that another had a turn since it looked begins again.

    clock: the latest time that any turn has seen, so that a clock which was set back shortens nothing.
    """
    for attempt in range(TURN_TRIES):
        done = transaction(url, lambda connection: _turn(connection, system, now, work))
        if done is not None:
            return done[0]
        time.sleep(min(0.1, 0.002 * attempt))
    raise TimeoutError(f"no turn among the training requests of {system} in {TURN_TRIES} tries")


def _turn(connection: Connection, system: str, now: float, work: Work[T]) -> tuple[T] | None:
    mine = TURNS.c.system == system
    row = connection.execute(select(TURNS).where(mine)).one_or_none()
    if row is None:
        try:
            connection.execute(insert(TURNS).values(system=system, turn=0, clock=now))
        except IntegrityError:
            return None
        return (work(connection, now),)
    clock = max(now, row.clock)
    next_turn = update(TURNS).where(mine, TURNS.c.turn == row.turn).values(turn=row.turn + 1, clock=clock)
    return (work(connection, clock),) if connection.execute(next_turn).rowcount == 1 else None


def transaction(url: str, work: Callable[[Connection], T]) -> T:
    engine = create_engine(url, connect_args={"timeout": LOCK_S} if url.startswith("sqlite") else {})
    try:
        make_tables(engine, METADATA)
        with engine.begin() as connection:
            return work(connection)
    finally:
        engine.dispose()


def requests_of(connection: Connection, system: str) -> list[Request]:
    """Oldest first."""
    rows = connection.execute(select(REQUESTS).where(REQUESTS.c.system == system).order_by(REQUESTS.c.no))
    return [Request(**row._mapping) for row in rows]


def fitted(window: str | None) -> str | None:
    """As it stands in the table: a name that is longer than the column ends in its hash. PostgreSQL would refuse it."""
    if window is None or len(window) <= WINDOW_CHARS:
        return window
    return f"{window[: WINDOW_CHARS - HASH_CHARS - 1]}-{hashlib.sha256(window.encode()).hexdigest()[:HASH_CHARS]}"


def forget_old(connection: Connection, system: str, before: float, kept: int) -> None:
    """Drops what was over before that time, save the latest `kept` that were no refusals and what labels were last taken."""
    known = requests_of(connection, system)
    made = [request for request in known if request.state != "refused"]
    taken = [request for request in made if request.state == "ended" and request.labels is not None]
    stay = {request.no for request in (*made[-kept:], *taken[-1:])}
    old = [
        request.no for request in known
        if request.no not in stay and max(request.at, request.ended_at or 0, request.state in OPEN and request.lease_until) < before
    ]  # fmt: skip
    if old:
        connection.execute(delete(REQUESTS).where(REQUESTS.c.no.in_(old)))


def add_request(connection: Connection, row: dict[str, Any]) -> int:
    return connection.execute(insert(REQUESTS).values(row)).inserted_primary_key[0]


def change_request(connection: Connection, no: int, **values: Any) -> None:
    connection.execute(update(REQUESTS).where(REQUESTS.c.no == no).values(values))


def forget_clock(connection: Connection, system: str, now: float) -> None:
    """From now on the latest time is `now`: for a person, where a clock had been ahead. What was asked for then was now."""
    connection.execute(update(TURNS).where(TURNS.c.system == system).values(clock=now))
    mine, at = REQUESTS.c.system == system, REQUESTS.c.at
    connection.execute(update(REQUESTS).where(mine, REQUESTS.c.ended_at > now).values(ended_at=now))
    left = REQUESTS.c.lease_until - at + now
    connection.execute(update(REQUESTS).where(mine, at > now).values(at=now, lease_until=left))
