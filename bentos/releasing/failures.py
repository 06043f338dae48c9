"""Writes down what a challenger failed on while the champion went on."""

from collections.abc import Callable
from datetime import UTC, datetime

from bentos.hooks import Observer, Recorder
from vision.errors import ClearError
from vision.failures import FailedRoute, Failure
from vision.release import Release, ReleasedModel

MAX_CHARS = 300
Told = Callable[[], tuple[Recorder, Observer]]
"""Who is told now: they come after the predictor."""


class Failures:
    """For the event loop."""

    def __init__(self, told: Told) -> None:
        self._told = told

    def add(
        self, release: Release, model: ReleasedModel, route: FailedRoute, error: str, pair_id: str | None = None
    ) -> None:
        """pair_id: the champion's answer to the same image."""
        recorder, observer = self._told()
        observer.challenger_failed(route)
        recorder.append_failure(
            Failure(
                at=datetime.now(UTC),
                id=pair_id,
                package_sha=model.package_sha,
                model_version=model.version,
                release_no=release.no,
                route=route,
                error=error[:MAX_CHARS],
            )
        )


def in_words(error: Exception) -> str:
    """What is said of an error, on one line."""
    if isinstance(error, ClearError):
        return error.got
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(":")
