"""One training as the governor sees it: its start, its signs of life, its end."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from tasks.monitoring.governor import HOUR_S, Governor
from tasks.monitoring.training_requests import State

RENEWALS = 20
"""Signs of life in one lease."""


@dataclass
class Training:
    """One that runs. `state`: how it ends unless something is raised."""

    no: int
    state: State = "rejected"
    before: str | None = None
    """Why it is not to be made: it was."""

    def passed(self) -> None:
        """Data and model did: only then its labels count as taken."""
        self.state = "ended"


@contextmanager
def governed(governor: Governor, reason: str, window: str | None, labels: int) -> Iterator[Training]:
    """The training inside is known to the governor: its start, its signs of life and its end.

    Begun only while the system's training lock is held. A request that a training was made for is not made again: events
    may come twice.
    """
    if (made := governor.made(window)) is not None:
        why = f"training {made.no} was made for {made.window} and {made.state}; its event came again"
        yield Training(made.no, made.state, why)
        return
    no, over = governor.started(reason, window, labels, datetime.now(UTC)), threading.Event()
    thread = threading.Thread(target=_renew_until, args=(governor, no, over), name="lease", daemon=True)
    thread.start()
    training, state = Training(no), "failed"
    try:
        yield training
        state = training.state
    finally:
        over.set()
        thread.join()
        try:
            governor.ended(no, datetime.now(UTC), state)
        except Exception as error:  # the training itself is done; without this row its lease runs out
            logging.getLogger(__name__).warning("the end of training %s could not be written down: %s", no, error)


def _renew_until(governor: Governor, no: int, over: threading.Event) -> None:
    while not over.wait(governor.config.lease_h * HOUR_S / RENEWALS):
        try:
            governor.renew(no, datetime.now(UTC))
        except Exception as error:
            logging.getLogger(__name__).warning("training %s: its sign of life could not be written: %s", no, error)
