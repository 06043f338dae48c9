"""Makes the libraries quiet and local in this process and its children; a user's mistake prints no traceback."""

import logging
import os

from vision.errors import ClearError

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
    """Lets a user's mistake into the log once, without a traceback: Prefect reports it for task, flow and worker.

    off: leaves everything as it is. at_edge: a command prints the mistake itself at its end, so the log stays silent.
    """

    off = False
    at_edge = False
    told: BaseException | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        if self.off:
            return True
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if isinstance(error, ClearError):
            fresh = error is not self.told and not self.at_edge
            self.told = error
            record.msg, record.args, record.exc_info, record.exc_text = str(error), (), None, None
            return fresh
        if "UserError: " in (text := record.getMessage()) or "MachineError: " in text:
            record.msg, record.args = text.partition("(")[0], ()
        return True


FILTER = UserErrorFilter()


def prepare(verbose: bool | None = None) -> None:
    """Sets what is not set yet; called first thing in each flow.

    verbose: leaves tracebacks in. Only a command gives it, and tells of mistakes itself; None: as it was set.
    """
    if verbose is not None:
        FILTER.off, FILTER.at_edge = verbose, True
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    for name in ("alembic", "mlflow", "git", "great_expectations", "fsspec", "matplotlib", "dvc"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # The last is a worker's: it reports there what a flow raised.
    for name in ("prefect.flow_runs", "prefect.task_runs", "prefect.engine"):
        logging.getLogger(name).addFilter(FILTER)
