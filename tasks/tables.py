"""Makes the tables of `state.db` where they are missing, and waits for a server that is just being restarted."""

import time

from sqlalchemy import Engine, MetaData
from sqlalchemy.exc import DBAPIError, OperationalError

TRIES = 5
AWAY_S, PAUSE_S = 30.0, 0.5
"""A server's restart takes seconds. One that is away at the start of a flow is told at once (`tasks/services.py`)."""


def make_tables(engine: Engine, metadata: MetaData) -> None:
    """Two processes may find a table missing at once: the one that comes second finds it there and goes on."""
    left, end = TRIES, time.monotonic() + AWAY_S
    while True:
        try:
            metadata.create_all(engine)
            return
        except DBAPIError as error:  # SQLite says OperationalError, PostgreSQL ProgrammingError or IntegrityError.
            left -= 1
            if engine.dialect.name != "sqlite" and isinstance(error, OperationalError):
                if time.monotonic() > end:
                    raise
                time.sleep(PAUSE_S)
            elif not left:
                raise
