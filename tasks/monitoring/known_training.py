"""Joins a flow's run with the governor of its system."""

from collections.abc import Iterator
from contextlib import contextmanager

from tasks.data.labels import collect_labels
from tasks.monitoring.governed import Training, governed
from tasks.monitoring.governor import Governor
from tasks.run import Run


def governor_of(run: Run) -> Governor:
    return Governor(run.database_url, run.config.system, run.config.retraining)


@contextmanager
def known_training(run: Run) -> Iterator[Training]:
    """The governor knows of the training inside, whoever started it. Only while the system's training lock is held."""
    with governed(governor_of(run), run.reason, run.window, collect_labels(run).images) as training:
        yield training
