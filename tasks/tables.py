"""Makes the tables of `state.db` where they are missing."""

from sqlalchemy import Engine, MetaData
from sqlalchemy.exc import DBAPIError

TRIES = 5


def make_tables(engine: Engine, metadata: MetaData) -> None:
    """Two processes may find a table missing at once: the one that comes second finds it there and goes on."""
    for left in reversed(range(TRIES)):
        try:
            metadata.create_all(engine)
            return
        except DBAPIError:  # SQLite says OperationalError, PostgreSQL ProgrammingError or IntegrityError.
            if not left:
                raise
