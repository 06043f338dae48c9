"""Makes the libraries quiet and local in this process and its children; a user's mistake prints no traceback."""

import logging
import os

from vision.errors import UserError

QUIET = {
    "DO_NOT_TRACK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "GX_ANALYTICS_ENABLED": "false",
    "BENTOML_DO_NOT_TRACK": "True",
    "DVC_NO_ANALYTICS": "1",
    "GIT_PYTHON_REFRESH": "quiet",
    "TQDM_MININTERVAL": "1",
}


class UserErrorFilter(logging.Filter):
    """Takes the traceback off a log record that reports a `UserError`: its message says it all."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if isinstance(error, UserError):
            record.msg, record.args, record.exc_info, record.exc_text = str(error), (), None, None
        return True


def prepare(verbose: bool = False) -> None:
    """Sets what is not set yet; called first thing in each flow. `verbose` leaves tracebacks in."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    for name in ("alembic", "mlflow", "git", "great_expectations", "fsspec", "matplotlib", "dvc"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logger = logging.getLogger(name)
        logger.filters = [f for f in logger.filters if not isinstance(f, UserErrorFilter)]
        if not verbose:
            logger.addFilter(UserErrorFilter())
