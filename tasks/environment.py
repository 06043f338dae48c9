"""Makes the libraries quiet and local in this process and its children; a user's mistake prints no traceback."""

import logging
import os

from configs.load import Settings
from tasks.reaper import guard
from vision.machine_faults import explained

QUIET = {
    "DO_NOT_TRACK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    # How often Ray Train asks whether the workers are done. With its own 2 s the end of an empty one took 3 s longer.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.25",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Its own seven tries with doubling pauses take minutes; these take some fifteen seconds.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    # Files come through the server, as they go: the address in a presigned URL may be known to the server alone.
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
    "GX_ANALYTICS_ENABLED": "false",
    "BENTOML_DO_NOT_TRACK": "True",
    # A flow's temporary server: what it tries again by itself (SQLite that is locked for a moment) is no news to a user.
    "PREFECT_LOGGING_SERVER_LEVEL": "CRITICAL",
    "DVC_NO_ANALYTICS": "1",
    "GIT_PYTHON_REFRESH": "quiet",
    "TQDM_MININTERVAL": "1",
    # Threads that wait for each other spin for microseconds and then sleep. Spinning as long as is the default, two trainings,
    # or a training beside a service, on the same cores take each other's time (seen: 6 images a second for 133). Sleeping at
    # once, which we had before, cost a training alone a quarter of its speed.
    "GOMP_SPINCOUNT": "10000",
}


class UserErrorFilter(logging.Filter):
    """Lets a clear error into the log once, without a traceback: Prefect reports it for task, flow and worker.

    off: leaves everything as it is. at_edge: a command prints what was raised itself at its end, so the log stays silent.
    """

    off = False
    at_edge = False
    told: BaseException | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        if self.off:
            return True
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if error is not None and self.at_edge:
            return False
        if error is not None and (clear := explained(error)):
            fresh, self.told = error is not self.told, error
            record.msg, record.args, record.exc_info, record.exc_text = str(clear), (), None, None
            return fresh
        text = record.getMessage()
        if "UserError: " in text or "MachineError: " in text or (self.at_edge and "encountered an exception" in text):
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
    guard()
    for name in ("alembic", "mlflow", "git", "great_expectations", "fsspec", "matplotlib", "dvc"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # `prefect.engine` is a worker's: it reports there what a flow raised.
    for name in ("prefect.flow_runs", "prefect.task_runs", "prefect.engine", "mlflow.store.db.utils"):
        logging.getLogger(name).addFilter(FILTER)


def hand_on_login(machine: Settings) -> None:
    """MLflow's client reads its login from the environment alone; `.env` counts as well."""
    known = {"MLFLOW_TRACKING_USERNAME": machine.mlflow_username, "MLFLOW_TRACKING_PASSWORD": machine.mlflow_password}
    for name, value in known.items():
        if value is not None:
            os.environ.setdefault(name, value.get_secret_value())
