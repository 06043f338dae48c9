"""Is a service there? Asked before work begins and before the registry is used: libraries try again for minutes."""

import sqlite3
from pathlib import Path
from urllib.parse import urlsplit

from vision.errors import MachineError, UserError
from vision.machine_faults import redacted

ANSWER_S = 5.0
LOCK_S = 10.0
"""How long another process may hold a SQLite file: a training writes for milliseconds, a first migration for seconds."""


SEARCH = "/api/2.0/mlflow/experiments/search?max_results=1"
LOCKED = (401, 403)
WHY_CHARS = 200
DATABASES = ("postgresql", "mysql", "mariadb", "mssql", "oracle")


def check_service(uri: str, setting: str) -> None:
    """uri: of MLflow or of a database, as in `setting`.

    Raises `MachineError` when it is away, locked or unwritable, `UserError` when it does not let us in.
    """
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
    """Not a 5xx: MLflow's client tries those again for minutes."""
    import httpx

    try:
        health, used = (httpx.get(f"{uri.rstrip('/')}{path}", timeout=ANSWER_S) for path in ("/health", SEARCH))
        if health.is_server_error:
            raise httpx.HTTPError(f"status {health.status_code}")
    except httpx.HTTPError as error:
        raise MachineError(
            f"{redacted(uri)} does not answer: {str(error) or type(error).__name__}",
            f"a running MLflow server at {setting}",
            f"start the server or correct {setting}",
        ) from error
    if used.status_code in LOCKED:
        _log_in(uri, setting)


def _log_in(uri: str, setting: str) -> None:
    """By MLflow's own client: it knows each place where a login may stand (variables, a token, its credentials file)."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        MlflowClient(tracking_uri=uri).search_experiments(max_results=1)
    except MlflowException as error:
        why = redacted(" ".join(str(error).split()))[:WHY_CHARS]
        if "Max retries exceeded" in str(error):  # of a 5xx: it stands before a database that is away
            raise MachineError(
                f"{redacted(uri)} does not answer: {why}",
                f"a running MLflow server at {setting}, and the database behind it",
                f"start what is away or correct {setting}",
            ) from None
        raise UserError(
            f"{redacted(uri)} does not let us in: {why}",
            f"the login of a user that the MLflow server at {setting} knows",
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, in the environment or .env",
        ) from None


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
