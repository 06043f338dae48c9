"""Is a service there? Asked before work begins and before the registry is used: libraries try again for minutes."""

import sqlite3
from pathlib import Path
from urllib.parse import urlsplit

from vision.errors import MachineError
from vision.machine_faults import redacted

ANSWER_S = 5.0
LOCK_S = 10.0
"""How long another process may hold a SQLite file: a training writes for milliseconds, a first migration for seconds."""


DATABASES = ("postgresql", "mysql", "mariadb", "mssql", "oracle")


def check_service(uri: str, setting: str) -> None:
    """uri: of MLflow or of a database, as in `setting`. Raises `MachineError` when it is away, locked or unwritable."""
    kind = urlsplit(uri).scheme.partition("+")[0]
    if kind == "sqlite":
        _check_sqlite(Path(uri.partition("///")[2]), setting)
    elif kind in ("http", "https"):
        _check_http(uri, setting)
    elif kind in DATABASES:
        _check_database(uri, setting)


def _check_sqlite(path: Path, setting: str) -> None:
    """Takes the write lock for a moment. A file that is not there yet is made by who needs it."""
    if not path.is_file():
        return
    connection = sqlite3.connect(path, timeout=LOCK_S, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise MachineError(
            f"database {path}: {error}",
            f"a SQLite file that this user may write and that nobody holds for more than {LOCK_S:.0f} s",
            f"end the process that holds it, or mend the file; {setting} names another database",
        ) from error
    finally:
        connection.close()


def _check_http(uri: str, setting: str) -> None:
    """Any answer will do, also one that wants a password: MLflow's client has it. Not a 5xx: it tries those again for minutes."""
    import httpx

    try:
        answer = httpx.get(f"{uri.rstrip('/')}/health", timeout=ANSWER_S)
        if answer.is_server_error:
            raise httpx.HTTPError(f"status {answer.status_code}")
    except httpx.HTTPError as error:
        raise MachineError(
            f"{redacted(uri)} does not answer: {str(error) or type(error).__name__}",
            f"a running MLflow server at {setting}",
            f"start the server or correct {setting}",
        ) from error


def _check_database(uri: str, setting: str) -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    try:
        engine = create_engine(uri)
        try:
            engine.connect().close()
        finally:
            engine.dispose()
    except (SQLAlchemyError, ModuleNotFoundError) as error:
        raise MachineError(
            f"database {redacted(uri)}: {redacted(str(getattr(error, 'orig', None) or error))}",
            f"a running database at {setting}, and its Python driver on this machine",
            f"start the database, install the driver, or correct {setting}",
        ) from error
